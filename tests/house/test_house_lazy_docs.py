"""A command does the same without what libraries write for help()."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
CODE = """
import hashlib, sys
if sys.argv[1] == "without":
    from cbam_ablate.lazy_docs import leave_out_docs
    leave_out_docs()
import io
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import special
figure = Figure()
axes = figure.subplots()
axes.errorbar([1, 2], [3, 4], yerr=0.5, label="one")
axes.set(xlabel="x", ylim=(0, 5))
axes.legend().set(alpha=0.5)
out = io.BytesIO()
FigureCanvasAgg(figure).print_png(out)
print(hashlib.sha256(out.getvalue()).hexdigest(), special.stdtrit([2, 5], 0.975), special.gammaln(7.5))
print("numpy.f2py.crackfortran" in sys.modules, bool(type(axes).set.__doc__))
import numpy
print(numpy.testing.assert_allclose(1, 1), callable(numpy.f2py.run_main))
"""


@pytest.fixture(scope="module")
def said():
    def of(docs):
        done = subprocess.run([sys.executable, "-c", CODE, docs], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return {docs: of(docs) for docs in ("with", "without")}


def test_figures_and_numbers_are_the_same_without_docstrings(said):
    assert said["with"][0] == said["without"][0]


def test_no_docstrings_are_written_and_no_compiler_is_imported(said):
    assert said["without"][1] == "False False"


def test_what_is_imported_lazily_is_there_when_it_is_used(said):
    assert said["with"][2] == said["without"][2] == "None True"
