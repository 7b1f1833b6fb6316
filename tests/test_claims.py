"""The claims' verdicts can fail, and the index shows what the claims have measured.

The claims themselves are run by ``nox -s gallery``: each takes up to half a minute.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import anyback_nn as nn

FOLDER = Path(__file__).parents[1] / "examples" / "claims"
SCRIPTS = sorted(FOLDER.glob("c?_*.py"))
ROUNDING = 2.2e-16


@pytest.fixture(autouse=True)
def _helpers(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def load(number, name):
    """Return a function of a script, without running the experiment."""
    (script,) = FOLDER.glob(f"c{number}_*.py")
    tree = ast.parse(script.read_text(encoding="utf-8"))
    parts = [
        node
        for node in tree.body
        if (isinstance(node, ast.Import | ast.ImportFrom) and "matplotlib" not in ast.unparse(node))
        or getattr(node, "name", "") == name
    ]
    names = {}
    exec(compile(ast.Module(parts, []), script, "exec"), names)
    return names[name]


def both_starts(usual, large):
    return {
        (label, start): value
        for label in ("sigmoid", "tanh")
        for start, value in (("usual start", usual), ("large z", large))
    }


def three_networks(one, deep, relu):
    labels = ("one layer", "four layers, no activation", "four layers, ReLU")
    return {(label, "moons"): value for label, value in zip(labels, (one, deep, relu))}


TRUE = {
    1: ({"XOR": [0.5, 0.6]}, {"XOR": [0.96, 1.0]}),
    2: ([1e-15], [1e-15], {10: [0.9], 1000: [50.0, 60.0]}, ROUNDING),
    3: ({"Adam": {"moons": 9, "digits": 10}}, {"Adam": {"moons": 10, "digits": 8}}, 10),
    4: (
        {"sigmoid": 5e-5, "tanh": 0.0},
        both_starts([[1.0, 2.0]], [[0.01, 2.0]]),
        both_starts([0.1, 0.2], [0.6, 0.7]),
    ),
    5: (
        {
            "ReLU against tanh": {"1 hidden layer": {"moons": 6}},
            "ReLU against sigmoid": {"1 hidden layer": {"moons": 10}},
            "leaky ReLU against ReLU": {"1 hidden layer": {"moons": 4}},
        },
        10,
        {"ReLU": {0.1: [0.0], 1.0: [0.2]}},
        {"sigmoid": [0.95], "linear": [0.9], "ReLU": [0.8]},
        {"sigmoid": [0.0], "linear": [0.1], "ReLU": [0.1]},
    ),
    6: (
        {"moons": [1e-16]},
        three_networks([0.3], [0.3], [0.1]),
        three_networks([0.8], [0.8], [0.9]),
        ROUNDING,
    ),
    7: (
        {"equal": [0.0], "zeros": [0.0], "random": [2.0]},
        {"equal": [0.6], "zeros": [0.5], "random": [0.9]},
    ),
    8: ({"tanh": [1e-10]}, {"jax": {"tanh": [1e-15]}}, ROUNDING),
}
"""Numbers as the claims would have them."""

FALSE = {
    1: ({"XOR": [0.5, 0.76]}, {"XOR": [0.96, 1.0]}),
    2: ([1e-3], [1e-3], {10: [5.0], 1000: [50.0, 0.9]}, ROUNDING),
    3: ({"Adam": {"moons": 7, "digits": 10}}, {"Adam": {"moons": 2, "digits": 8}}, 10),
    4: (
        {"sigmoid": 0.2, "tanh": 0.1},
        both_starts([[1.0, 2.0]], [[0.2, 2.0]]),
        both_starts([0.1, 0.2], [0.6, 0.1]),
    ),
    5: (
        {
            "ReLU against tanh": {"1 hidden layer": {"moons": 5}},
            "ReLU against sigmoid": {"1 hidden layer": {"moons": 0}},
            "leaky ReLU against ReLU": {"1 hidden layer": {"moons": 8}},
        },
        10,
        {"ReLU": {0.1: [0.0], 1.0: [0.0]}},
        {"sigmoid": [0.85], "linear": [0.9], "ReLU": [0.8]},
        {"sigmoid": [0.0], "linear": [0.0], "ReLU": [0.1]},
    ),
    6: (
        {"moons": [1e-3]},
        three_networks([0.3], [0.2], [0.1]),
        three_networks([0.8], [0.9], [0.9]),
        ROUNDING,
    ),
    7: (
        {"equal": [0.5], "zeros": [0.1], "random": [0.0]},
        {"equal": [0.95], "zeros": [0.5], "random": [0.9]},
    ),
    8: ({"tanh": [1e-3]}, {"jax": {"tanh": [1e-3]}}, ROUNDING),
}
"""Numbers that contradict every finding."""


def test_each_claim_has_a_script():
    assert [path.name[:3] for path in SCRIPTS] == [f"c{number}_" for number in range(1, 9)]


@pytest.mark.parametrize("number", TRUE)
def test_numbers_as_expected_make_a_claim_hold(number):
    from claim import decide

    findings = load(number, "judge")(*TRUE[number])
    assert decide(findings) == "holds", findings


@pytest.mark.parametrize("number", FALSE)
def test_numbers_that_contradict_a_claim_make_it_fail(number):
    from claim import decide

    findings = load(number, "judge")(*FALSE[number])
    assert decide(findings) == "does not hold", findings


def test_claim_without_another_library_is_not_said_to_hold():
    differences, _, rounding = TRUE[8]
    assert [finding.holds for finding in load(8, "judge")(differences, {}, rounding)] == [
        True,
        False,
    ]


@pytest.mark.parametrize("outcomes", [(True, False), (False, True)])
def test_claim_that_fails_in_one_finding_holds_in_part(outcomes):
    from claim import Finding, decide

    assert decide([Finding("", "", holds) for holds in outcomes]) == "holds in part"


def test_unit_that_no_sample_activates_is_dead():
    from race import Run

    hidden = {"weight": np.zeros((2, 4)), "bias": np.asarray([-1.0, 0.0, 1.0, 2.0])}
    run = Run((hidden, {}, {"weight": np.ones((4, 2)), "bias": np.zeros(2)}), 0.0, 0.0, 0.0)
    assert load(5, "count_dead")(run, "moons", 0, 0.0) == 0.5


def test_seeds_that_are_trained_at_once_are_as_if_trained_alone(backend, monkeypatch):
    import race

    monkeypatch.setattr(race, "STEPS", 20)
    data = [np.stack(arrays) for arrays in zip(*(race.draw_data("moons", s) for s in race.SEEDS))]
    network, rule = race.build(nn.Tanh(), 1, 2), nn.GradientDescent(1.0)
    run = race.train(backend, network, rule, 0.5, data)[3]
    x, y, _, _, x_test, y_test = race.draw_data("moons", 3)
    model = nn.Model(*network.layers, loss=race.LOSS, backend=backend, seed=3)
    model.fit(x, y, optimizer=nn.GradientDescent(0.5), epochs=20, batch_size=None)
    scores = model.evaluate(x_test, y_test)
    assert run.test_loss == pytest.approx(scores["loss"], rel=1e-5)
    assert run.accuracy == pytest.approx(scores["accuracy"], rel=1e-5)


def test_script_prints_and_writes_its_verdict(tmp_path):
    pytest.importorskip("matplotlib")
    script = next(FOLDER.glob("c2_*.py"))
    command = [sys.executable, script, "--output", tmp_path, "--backend", "numpy"]
    environment = os.environ | {"MPLBACKEND": "agg"}
    process = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    result = json.loads((tmp_path / f"{script.stem}.json").read_text(encoding="utf-8"))
    assert f"C2 {result['verdict']}:" in process.stdout
    for finding in result["findings"]:
        assert f"{finding['criterion']}: {finding['measured']}" in process.stdout
    assert (tmp_path / result["picture"]).read_bytes().startswith(b"\x89PNG")


def test_index_is_made_from_the_results(tmp_path):
    from gallery import write_index

    for number, holds in ((2, True), (1, False)):
        name = f"c{number}_some_claim"
        result = {
            "number": f"C{number}",
            "name": name,
            "statement": f"Statement {number}.",
            "verdict": "holds" if holds else "does not hold",
            "findings": [{"criterion": "|z| is large", "measured": "0.97", "holds": holds}],
            "tables": [{"title": "Scores", "headers": ["data", "score"], "rows": [["XOR", "1"]]}],
            "picture": f"{name}.png",
            "alt": "Two lines.",
            "where": "numpy 2.4 (cpu)",
            "seconds": 3.2,
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")
    index = write_index(tmp_path).read_text(encoding="utf-8")
    first, second = index.index("## C1 does not hold"), index.index("## C2 holds")
    assert first < second
    assert "| [C1](#c1-does-not-hold): Statement 1. | **does not hold** |" in index
    assert "✗ \\|z\\| is large: 0.97" in index[:first]
    assert "![Two lines.](c2_some_claim.png)" in index[second:]
    assert "[The notebook](c2_some_claim.ipynb)" in index[second:]
    assert "| XOR | 1 |" in index[second:]


def test_notebook_runs_with_the_arguments_of_jupyter(tmp_path, monkeypatch, capsys):
    matplotlib = pytest.importorskip("matplotlib")
    from claim import Claim

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "connection.json"])
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setenv("ANYBACK_NN_BACKEND", "numpy")
    with matplotlib.rc_context():
        assert Claim("c9_test", "A statement.").output == Path()
    assert "C9: A statement." in capsys.readouterr().out
