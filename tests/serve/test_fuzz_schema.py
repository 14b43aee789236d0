"""The served schema against the server, by schemathesis: answers are as it says, and what it forbids is refused."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fuzzed import VALID, fuzzed_models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from listening import Listening, listening
from schemathesis import GenerationMode
from schemathesis.checks import FailureGroup, not_a_server_error
from schemathesis.specs.openapi import checks

from puna.serve.app import make_app

CHECKS = [
    not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_schema_conformance, checks.response_headers_conformance, checks.negative_data_rejection,
    checks.unsupported_method,
]  # fmt: skip
"""All but `positive_data_acceptance`: a prompt that the schema allows may be longer than the model reads."""


@pytest.fixture(scope="module")
def server() -> Iterator[Listening]:
    with listening(make_app(fuzzed_models())) as started:
        yield started


@pytest.fixture(scope="module")
def schema(server: Listening) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_server_answers_as_its_schema_says(schema: Any, mode: GenerationMode) -> None:
    operations = [result.ok() for result in schema.get_all_operations()]
    assert {operation.path for operation in operations} >= set(VALID)
    cases = st.one_of([operation.as_strategy(generation_mode=mode) for operation in operations])

    @settings(max_examples=100, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def ask(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    ask()


def test_a_schema_that_says_less_than_the_server_does_is_found(schema: Any, server: Listening) -> None:
    raw = copy.deepcopy(schema.raw_schema)
    raw["paths"]["/v1/models"]["get"]["responses"] = {"404": {"description": "there are none"}}
    case = schemathesis.openapi.from_dict(raw)["/v1/models"]["GET"].Case()
    with pytest.raises(FailureGroup, match="Undocumented status code"):
        case.call_and_validate(base_url=server.url, checks=CHECKS)
