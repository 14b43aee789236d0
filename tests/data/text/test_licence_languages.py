# ruff: noqa: RUF001 (other languages have letters that look alike)
"""Notices in other languages than English."""

import pytest

from puna.data.text.licence_notices import notice

REFUSED = "LicenseRef-Proprietary"


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("Este programa es software libre bajo los términos de la Licencia Pública General de GNU.", "GPL"),
        ("Biblioteca sob a Licença Pública Geral Menor GNU", "LGPL"),
        ("Distribuído sob os termos da Licença Pública Geral GNU, versão 2", "GPL"),
        ("Ce fichier est distribué sous licence publique générale GNU", "GPL"),
        ("Ce logiciel est régi sous licence publique générale limitée GNU", "LGPL"),
        ("Ten program jest na licencji GPL v2", "GPL-2.0"),
        ("Bu program GPL v3 lisansı ile dağıtılır", "GPL-3.0"),
        ("Этот файл распространяется под лицензией GPL v3", "GPL-3.0"),
        ("Программа доступна на условиях Стандартной общественной лицензии GNU", "GPL"),
        ("本程序遵循 GPL v3 许可证", "GPL-3.0"),
        ("本软件采用 AGPL-3.0 协议发布", "AGPL-3.0"),
        ("本程式依據 GNU 通用公共授權條款散布", "GPL"),
        ("このプログラムはGPLv3ライセンスで配布されます", "GPL-3.0"),
        ("版权所有 (C) 2010。未经许可不得复制。", REFUSED),
        ("無断転載禁止", REFUSED),
        ("Tous droits réservés. Reproduction interdite.", REFUSED),
        ("Alle Rechte vorbehalten. Weitergabe an Dritte untersagt.", REFUSED),
        ("Все права защищены. Копирование запрещено.", REFUSED),
        ("Prohibida su reproducción total o parcial.", REFUSED),
        ("You may not use this file without a licence from Frob.", REFUSED),
        ("禁止拷贝的基类，禁止使用全局变量，处理机密数据", ""),
        ("Прочитать конфиденциальные данные", ""),
        ("El usuario no puede usar la biblioteca sin conexión", ""),
        ("Die Nutzung ist gestattet", ""),
    ],
)
def test_notices_are_read(text: str, licence: str) -> None:
    assert notice(f"/* {text} */\nint a;\n", "c").licence == licence
