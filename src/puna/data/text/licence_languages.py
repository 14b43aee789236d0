"""Notices of licences in other languages than English: the GNU licences' names, grants and refusals.

A notice that nobody here can read counts as none, and then the project's own licence holds. So what matters is the
GNU licences and refusals, as projects write them in Chinese, French, German, Italian, Japanese, Polish, Portuguese,
Russian, Spanish and Turkish.
"""

# ruff: noqa: RUF001 (letters that look alike are what these patterns are about)

import re

_LESSER = r"(?:reducid|reduzid|menor|atenuad|lesser|limit[ée]e|amoindrie|ограниченн|меньш|较宽松|較寬鬆|宽松|劣等)"
_NAME = (
    r"licencia\s+p[úu]blica\s+general|licen[çc]a\s+p[úu]blica\s+geral|licenza\s+pubblica\s+general?e?i?c?a?"
    r"|licence\s+publique\s+g[ée]n[ée]rale|allgemeine\w*\s+(?:öffentliche\w*\s+)?(?:gnu\s+)?lizenz"
    r"|powszechn\w+\s+licencj\w+\s+publiczn\w+|genel\s+kamu\s+lisans\w*"
    r"|(?:стандартн|универсальн|генеральн|общ)\w+\s+(?:общественн|публичн|открыт)\w+\s+лицензи\w+"
    r"|通用公共(?:许可|授权|許可|授權)\w{0,2}|通用公眾授權\w{0,2}|一般公衆利用許諾\w{0,3}"
)
GNU_NAME = (
    rf"(?P<lesser>{_LESSER}\w*\W{{0,4}})?(?:gnu\W{{0,4}})?(?:{_NAME})(?P<lesser_after>\W{{1,4}}{_LESSER}\w*)?"
    r"(?:\W{1,4}(?:de|da|du|di|der)?\W{0,2}gnu\b)?"
)
"""The GNU General Public License's names, and the Lesser one's."""
NAME_HINTS = (
    "pública", "publica", "publique", "pubblica", "allgemeine", "publiczn", "kamu", "лицензи", "公共", "公眾", "公衆",
)  # fmt: skip
"""One of these is in every such name."""

GRANT = re.compile(
    r"(?:bajo|sob|sotto|sous|unter|na)\s+(?:\w+\s+){0,3}(?:l[ia]\w*\s+)?(?:t[ée]rmin|termos|termini|licen|lizenz)"
    r"|(?:licen[çz]a|licencj\w+|lisans\w*)\b|(?:лицензи|ліцензі)\w*|(?:на\s+условиях|по\s+условиям)|свободн\w+\s+программн"
    r"|software\s+(?:libre|livre|libero)|logiciel\s+libre|freie\s+software|wolne\s+oprogramowanie|özgür\s+yazılım"
    r"|(?:遵循|遵照|遵守|采用|採用|基于|基於|根据|根據|按照|使用|依据|依據|以)\s*\Z|(?:自由软件|自由軟體|フリーソフトウェア)"
)
"""Words of a grant before a licence's name."""
GRANT_AFTER = re.compile(
    r"[\s\"'」』）)v\d.+-]{0,12}(?:or\s+later)?\s*(?:许可|許可|协议|協議|授权|授權|条款|條款|ライセンス|の下|に基づ|で配布|で公開|lisans|ile\s)"
)
"""Words of a grant behind a licence's name."""

REFUSALS = re.compile(
    r"reproduction\s+(?:\w+\s+){0,3}interdite|(?:copie|utilisation|diffusion)\s+(?:\w+\s+){0,4}interdite"
    r"|(?:vervielfältigung|weitergabe|kopieren|nutzung|verbreitung)\s+(?:\w+\s+){0,6}(?:verboten|untersagt|nicht\s+gestattet)"
    r"|(?:prohibida|prohibido|proibida|proibido)\s+(?:\w+\s+){0,3}(?:reproducci[óo]n|copia|uso|distribuci[óo]n|reprodução"
    r"|cópia|distribuição)|(?:vietata|vietato)\s+(?:\w+\s+){0,3}(?:riproduzione|copia|uso|distribuzione)"
    r"|riproduzione\s+(?:\w+\s+){0,3}vietata|kopiowanie\s+(?:\w+\s+){0,4}(?:zabronione|zakazane)"
    r"|(?:копировани|использовани|распространени)\w+\s+(?:\w+\s+){0,6}(?:запрещен|не\s+допускается)"
    r"|запрещ\w+\s+(?:\w+\s+){0,4}(?:копирова|использова|распростран)"
    r"|(?:未经|未經|非经)[^\n。]{0,30}(?:不得|禁止|严禁|嚴禁)"
    r"|(?:不得|禁止|严禁|嚴禁)[^\n。]{0,12}(?:转载|轉載|传播|傳播|散布|商用|商业|商業)"
    r"|(?:無断|許可なく)[^\n。]{0,20}(?:転載|複製|使用|配布|改変)|転載禁止"
    r"|\b(?:vertraulich|confidentiel|confidencial|riservato|poufne)\b\s*(?:[.!\n]|\Z)|строго\s+конфиденциальн"
    r"|конфиденциально\s*(?:[.!\n]|\Z)|社外秘|(?:公司|商业|商業|企业)(?:机密|機密)"
)
"""Sentences that forbid to copy or use, and words for what is confidential."""
REFUSAL_HINTS = (
    "interdite", "verboten", "untersagt", "gestattet", "prohibid", "proibid", "vietat", "zabronion", "zakazan",
    "запрещ",
    "допускается", "未经", "未經", "非经", "不得", "禁止", "严禁", "嚴禁", "無断", "許可なく", "vertraulich",
    "confidentiel", "confidencial", "riservato", "poufne", "конфиденциальн", "社外秘", "机密", "機密",
)  # fmt: skip
"""One of these is in every refusal."""


def gnu_licence(match: re.Match[str]) -> str:
    """The family that a name stands for."""
    return "LGPL" if match["lesser"] or match["lesser_after"] else "GPL"
