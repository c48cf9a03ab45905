"""Pages of results: who has one, and what the others are told."""

import subprocess
import sys

import pytest

import svcca
from svcca.errors import InputError
from svcca.io.pages import write_page


def test_a_result_without_a_page_says_which_have_one(tmp_path):
    gap = svcca.fourier.TranslationGap(0.9, 0.1, 0.01)
    with pytest.raises(InputError, match=r"a\.html: expected a result that has a page: SimilarityMatrix; got Transl"):
        write_page(gap, tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


def test_pages_are_there_whichever_module_is_imported():
    code = "from svcca.io.pages import write_page; print([kind.__name__ for kind in write_page.registry])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "['object', 'SimilarityMatrix']\n"
