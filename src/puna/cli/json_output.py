"""JSON on stdout, in the characters that stdout can show."""

import json
import sys
from typing import Any


def json_line(value: Any) -> str:
    """A value as one line of JSON; characters that stdout's encoding may lack are escaped as JSON does."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "").replace("_", "")
    return json.dumps(value, ensure_ascii=encoding != "utf8")
