import json

import pytest

from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.data.documents import documents_files, documents_of, documents_record, documents_sha256
from puna.data.stages.plan import build_documents


def test_files_are_listed_with_their_hashes_in_order(recipe: Recipe, out: DataDir):
    small = recipe.model_copy(update={"data": recipe.data.model_copy(update={"task_bytes": 500})})
    build_documents(small, out)
    files = documents_files(out, "poems", "train")
    assert len(files) > 2
    assert [file.path.name for file in files] == [f"{number:05d}.jsonl.zst" for number in range(len(files))]
    identities = [document.id for document in documents_of(out, "poems", "train")]
    assert identities == sorted(identities)
    assert documents_sha256(out, "poems", "train") != documents_sha256(out, "poems", "heldout")


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_listing_that_is_not_the_records_is_refused(recipe: Recipe, out: DataDir, damage: str):
    build_documents(recipe, out)
    path = out.documents / "files.json"
    if damage == "missing":
        path.unlink()
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"x": {}}))
    with pytest.raises(DataError, match=r"files\.json: is missing or damaged"):
        documents_files(out, "poems", "train")


def test_missing_documents_are_named(out: DataDir):
    with pytest.raises(DataError, match="documents: no documents are here"):
        documents_record(out)
