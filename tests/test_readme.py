"""The README says what the records say, names commands that exist and folders that are there."""

import ast
import doctest
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from puna.cli.app import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_tables_are_made_from_the_newest_records():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "bench" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    pages = [page.read_text(encoding="utf-8") for page in tables.PAGES]
    assert pages[0] == README
    for text in pages:
        assert tables.rewrite(text) == text
    assert set(re.findall(r"<!-- table: (\w+) -->", "".join(pages))) == set(tables.TABLES)


PROMISES = [
    " ".join(line.split())
    for line in README.partition("\n## What always holds\n")[2].partition("\n## ")[0].split("\n- ")[1:]
]
"""The lines of the section that says what always holds."""

PROOFS = {
    "Killed at any step and resumed": [
        "test_killed_and_resumed_equals_never_killed",
        "test_killed_while_a_checkpoint_is_being_written",
        "test_torchrun_restarts_a_killed_worker_and_the_run_ends_with_the_same_bits",
    ],
    "One process = FSDP": [
        "test_every_layout_takes_the_step_of_one_process",
        "test_policy_changes_no_bit",
        "test_compiled_policy_gives_the_same_to_rounding",
        "test_run_goes_on_in_other_layouts",
    ],
    "A run at a step": [
        "test_a_moment_has_the_weights_of_its_state",
        "test_the_last_checkpoint_of_a_finished_run_is_its_model_bit_for_bit",
        "test_tensors_and_rectangles_are_those_that_were_cut",
    ],
    "A run that was extended": [
        "test_an_extended_run_has_the_bits_of_its_recipe_from_the_beginning",
        "test_a_branch_that_changes_nothing_ends_with_the_bits_of_its_parent",
    ],
    "What a search finds in a build": [
        "test_counts_are_those_of_a_search_at_every_character",
        "test_a_text_is_found_however_its_documents_were_cut_into_tokens",
        "test_longest_spans_are_those_that_trying_all_finds",
        "test_shards_are_searched_as_one_text",
    ],
    "A data build killed anywhere": ["test_data_build_killed_anywhere_and_run_again_gives_the_same_bytes"],
    "One process = several workers": [
        "test_local_workers_give_the_bytes_of_one_process",
        "test_a_ray_cluster_gives_the_bytes_of_one_process_and_takes_no_rule_of_a_script",
        "test_slurm_jobs_give_the_bytes_of_one_process",
    ],
    "Every dropped document": [
        "test_every_reason_has_a_sentence",
        "test_the_record_counts_what_is_in_the_files",
        "test_of_equal_texts_the_lowest_number_stays",
        "test_how_the_work_is_divided_changes_no_document",
    ],
    "Logits and the gradient": [
        "test_logits_equal_those_of_transformers",
        "test_gradients_of_every_parameter_equal_those_of_transformers",
    ],
    "The presets have": ["test_shape_is_table_2", "test_presets_have_the_published_parameters_and_the_torch_models"],
    "The optimizer step": ["test_steps_equal_a_plain_loop"],
    "Decoding with a cache": [
        "test_cached_decoding_equals_the_full_forward_pass",
        "test_greedy_decoding_with_a_cache_equals_a_full_pass_per_token",
    ],
    "The perplexity of a text": ["test_figures_are_those_of_a_plain_loop"],
    "Text and log-probabilities of a request": [
        "test_every_request_is_answered_as_if_it_were_alone",
        "test_bits_of_an_exact_runner_are_the_same_in_a_small_cache_and_in_company",
        "test_a_sequence_has_the_same_bits_in_any_company_and_chunks",
    ],
    "A sampled text is drawn": [
        "test_frequencies_are_the_softmax_of_logits_over_temperature",
        "test_tokens_that_are_guessed_are_distributed_as_the_model_says",
    ],
    "Requests and scores equal": [
        "test_harness_tasks_ask_and_score_as_lm_eval",
        "test_requests_and_scores_of_nq_open_are_the_harness_s",
        "test_harness_asks_and_scores_as_lm_eval",
        "test_accuracy_is_foundry_s_with_byte_level_bpe",
        "test_the_paper_s_category_averages_come_out_of_its_subjects",
        "test_the_paper_s_average_of_all_questions_comes_out_of_its_subjects",
    ],
    "An evaluation that was killed": [
        "test_a_killed_run_goes_on_where_it_was_and_ends_with_the_same_file",
        "test_two_processes_write_the_figures_of_one",
        "test_a_run_with_evaluations_has_the_bits_of_one_without",
    ],
    "A program that a model wrote": [
        "test_what_reaches_beyond_the_process_is_refused",
        "test_no_file_but_the_library_is_read",
        "test_no_connection_is_made",
        "test_no_process_and_no_thread_is_made",
        "test_no_other_process_is_signalled_or_changed",
    ],
    "A request to the server": [
        "test_answers_are_those_of_whole_passes_alone_and_among_others",
        "test_a_stream_that_is_closed_is_cancelled_and_its_pages_serve_the_next",
        "test_a_text_is_the_same_streamed_or_not_and_beside_others",
        "test_likelihoods_of_the_harness_are_those_in_process",
    ],
    "Text that is written under": [
        "test_what_chance_writes_is_valid",
        "test_what_chance_writes_matches_the_regular_expression",
        "test_a_choice_is_one_of_its_texts_and_each_can_come",
        "test_a_schema_that_would_not_be_enforced_is_refused",
    ],
    "No request, however": [
        "test_a_wrong_body_is_refused_or_answered_and_shows_nothing_of_others",
        "test_bytes_that_are_nearly_http_get_answers_of_http_or_none",
        "test_the_server_answers_as_its_schema_says",
        "test_hostile_answers_stay_text_wherever_they_are_shown",
    ],
    "What somebody types into a chat": [
        "test_ids_are_those_of_transformers",
        "test_whatever_is_typed_the_control_tokens_are_those_of_harmless_words",
    ],
    "Of a conversation the answers": [
        "test_answers_and_what_ends_them_are_learned_and_nothing_else",
        "test_the_mask_of_generation_blocks_is_that_of_transformers",
        "test_it_stops_here",
        "test_it_stops_in_transformers",
        "test_it_stops_in_llama_cpp",
    ],
    "Packed examples see themselves alone": [
        "test_packed_loss_and_gradient_are_those_of_the_examples_one_by_one",
        "test_any_packing_gives_the_same_gradient",
        "test_packed_loss_and_gradient_do_not_depend_on_the_layout",
        "test_masks_survive_writing",
    ],
    "A run of tuning that is resumed": [
        "test_a_stopped_run_goes_on_exactly_and_needs_neither_data_nor_model",
        "test_a_run_that_goes_on_is_the_unbroken_run_to_the_bit",
        "test_the_command_learns_from_pairs_and_goes_on_exactly_with_the_kept_reference",
    ],
    "Losses and gradients of pairs": [
        "test_losses_and_gradients_are_those_of_trl",
        "test_first_loss_is_that_of_equal_models_and_it_moves",
        "test_kept_log_probabilities_equal_fresh_ones_to_the_bit_and_ask_no_model",
    ],
    "An adapter begins as nothing": [
        "test_an_adapter_of_pefts_making_gives_its_logits",
        "test_peft_loads_it_with_the_same_logits",
        "test_rows_of_wq_and_wk_follow_the_rotary_permutation_into_gguf_and_the_original",
        "test_operators_compute_the_merged_models_of_all_adapters_in_one_step",
        "test_an_update_begins_as_nothing_to_the_bit",
        "test_the_merged_model_is_the_model_with_its_updates",
    ],
    "Native → Hugging Face": [
        "test_native_hf_original_easylm_gguf_native_is_the_identity",
        "test_every_format_gives_every_variant_back_or_refuses_it",
        "test_every_format_follows_every_other_with_the_tokenizer",
    ],
    "Logits of exports": [
        "test_its_logits_are_ours",
        "test_it_agrees_with_our_decoder_and_says_nothing",
        "test_metas_own_model_gives_our_logits",
        "test_every_byte_is_what_flax_and_msgpack_write",
    ],
    "Token ids equal": [
        "test_ids_are_those_of_sentencepiece",
        "test_ids_and_text_are_equal_on_any_text",
        "test_ids_are_tiktoken_s_on_any_text",
        "test_llama_cpp_gives_the_same_ids",
        "test_its_tokenizer_is_asked_too",
    ],
    "The order of the data": [
        "test_any_partition_of_the_batches_gives_the_same_sequences",
        "test_another_process_reads_the_same_sequences",
    ],
    "Bad input ends": [
        "test_mistyped_recipe_override_and_value_are_named_all_at_once",
        "test_full_disk_is_one_sentence_and_leaves_nothing_half_written",
    ],
}
"""By the first words of a promise, the tests that hold it; each is in a file or a folder that the promise cites."""


def test_every_promise_has_its_proofs():
    found = [words for promise in PROMISES for words in PROOFS if promise.startswith(words)]
    assert sorted(found) == sorted(PROOFS)
    assert len(found) == len(PROMISES)


@pytest.mark.parametrize("words", PROOFS)
def test_every_promise_cites_the_tests_that_hold_it_and_each_has_one(words: str):
    (promise,) = [promise for promise in PROMISES if promise.startswith(words)]
    cited = [ROOT / path for path in re.findall(r"`(tests(?:/[\w.]+)+)`", promise)]
    assert cited
    found = {path: _tests_in(path) for path in cited}
    for test in PROOFS[words]:
        assert any(test in tests for tests in found.values()), test
    for path, tests in found.items():
        assert tests & set(PROOFS[words]), f"{path} proves nothing of this"


def _tests_in(path: Path) -> set[str]:
    """Names of the tests of a file, or of all files of a folder, that nothing but a missing program lets pass by."""
    files = [path] if path.is_file() else sorted(path.rglob("test_*.py"))
    functions = [node for file in files for node in ast.walk(ast.parse(file.read_bytes()))]
    return {
        node.name
        for node in functions
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and not any("skip" in ast.unparse(mark) or "xfail" in ast.unparse(mark) for mark in node.decorator_list)
    }


def test_every_path_that_it_cites_exists():
    cited = re.findall(r"`((?:tests|docs|bench|launch|src)(?:/[\w.-]+)+)`", README)
    assert len(cited) > 10
    for path in cited:
        assert (ROOT / path).exists(), path


def test_every_link_leads_to_a_file():
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(targets) > 3
    for target in targets:
        assert (ROOT / target).exists(), target


def test_tree_names_every_folder():
    named = set(re.findall(r"^  (\w+)/  ", README, flags=re.MULTILINE))
    assert named == {path.name for path in (ROOT / "src" / "puna").iterdir() if (path / "__init__.py").exists()}


def test_the_table_names_every_command_and_no_other():
    """Of a group of commands one is enough."""
    group = typer.main.get_group(app)
    named = [line.split() for line in re.findall(r"^\| `puna ([a-z -]+)", README, flags=re.MULTILINE)]
    assert {words[0] for words in named} == set(group.commands)
    for name, *rest in named:
        command = group.commands[name]
        assert not isinstance(command, TyperGroup) or rest[0] in command.commands


def test_make_targets_of_the_first_screen_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", README, flags=re.MULTILINE)
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def test_the_first_screen_installs_what_was_tested():
    """Without the constraints pip takes the newest of everything."""
    screen = README.partition("\n## ")[0]
    installs = re.findall(r"^pip install (.+?)(?:  +#.*)?$", screen, flags=re.MULTILINE)
    assert installs == ["-c constraints.txt '.[demo]'"]


def test_python_session_uses_what_there_is_and_its_plan_is_what_python_says():
    """What a trained model writes differs between machines, a plan doesn't."""
    session = doctest.DocTestParser().get_examples(re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)[0])
    scope: dict[str, Any] = {}
    for example in session[:2]:
        exec(example.source, scope)
    assert repr(eval(session[2].source, scope)) == session[2].want.strip()
    for name in re.findall(r"puna\.(\w+)\(", README):
        assert name in scope["puna"].__all__
    assert len(session) <= 8
