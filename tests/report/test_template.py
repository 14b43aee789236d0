"""What the pages of runs have in common."""

import json

from puna.report.template import script_json


def test_json_in_a_script_cannot_end_it():
    value = {"</script>": ["<!--", "a & b", "</SCRIPT >", 1.5]}
    text = script_json(value)
    assert not set("<>&") & set(text)
    assert json.loads(text) == value
