"""The steps of a walk through a network: an equation in two notations for each value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from anyback_nn.explain.formulas import LossFormula, write_activation, write_loss
from anyback_nn.explain.names import Names, name_values
from anyback_nn.explain.notation import Step
from anyback_nn.network.layer import Layer
from anyback_nn.network.layers import BatchNorm, Dense, Dropout, LayerNorm
from anyback_nn.network.losses import Loss
from anyback_nn.network.network import Network, Residual

__all__ = ["list_steps"]


def list_steps(
    network: Network,
    loss: Loss,
    params: Any,
    state: Any = (),
    *,
    n_in: int,
    with_targets: bool = True,
    weighted: bool = False,
) -> tuple[Step, ...]:
    """List the steps of a walk, in the order of the computation.

    Their symbols are the names of the values of `compute_walk`.

    Parameters
    ----------
    network : Network
    loss : Loss
    params, state : tree
        As the network's, of which the names alone matter.
    n_in : int
        The number of input features.
    with_targets : bool
        Whether loss and gradients follow the forward part.
    weighted : bool
        Whether samples have weights.

    Examples
    --------
    >>> from anyback_nn.network.losses import BinaryCrossEntropy
    >>> dense = {"weight": None, "bias": None}
    >>> steps = list_steps(Network(Dense(1)), BinaryCrossEntropy(), (dense,), n_in=2)
    >>> for step in steps:
    ...     print(step.rows)
    {Z1} = {X} {W1} + {b1}
    Ŷ = {A1} = sigmoid({Z1})
    {L} = (1/{m}) sum(−({Y} ⊙ log({A1}) + (1 − {Y}) ⊙ log(1 − {A1})))
    {dZ1} = ({A1} − {Y}) / {m}
    {dW1} = {X}^T {dZ1}
    {db1} = sum({dZ1})
    """
    names = name_values(network, loss, params, state)
    n_out = network.output_size(n_in)
    formula = write_loss(loss, n_out)
    nodes = [*map(_Node, range(len(network.layers)), network.layers, names.inputs, names.outputs)]
    steps = [_write_forward(node, names) for node in nodes]
    if names.prediction == names.outputs[-1]:
        steps[-1] = _mark_prediction(steps[-1])
    else:
        steps.append(_write_link(formula, names))
    if not with_targets:
        return tuple(steps)
    steps += _write_loss_steps(loss, formula, names, n_out, weighted)
    for node in reversed(nodes):
        steps += _write_gradients(node, names)
        if node.index:
            steps.append(_write_backward(node))
    return tuple(steps)


@dataclass(frozen=True)
class _Node:
    """A layer with the symbols of its input and its output."""

    index: int
    layer: Layer
    x: str
    y: str

    @property
    def number(self) -> str:
        return self.y[1:]

    @property
    def kind(self) -> str:
        return type(self.layer).__name__

    def step(
        self, symbol: str, phase: str, title: str, rows: str, about: str, columns: str = ""
    ) -> Step:
        """Write a step of this layer; without ``columns`` both notations are the same."""
        start = f"{{{symbol}}} = "
        return Step(
            *(symbol, phase, self.index, title, start + rows, start + (columns or rows), about),
            about.replace("summed", "averaged") if phase == "gradient" else "",
        )


def _write_forward(node: _Node, names: Names) -> Step:
    """Write the output of a layer."""
    layer, x, n = node.layer, f"{{{node.x}}}", node.number
    if type(layer) is Dense:
        bias = f" + {{b{n}}}" if layer.bias else ""
        return node.step(
            *(node.y, "forward", f"Weighted sums of layer {n}"),
            f"{x} {{W{n}}}{bias}",
            "Each unit multiplies every input by a weight of its own and adds the products"
            + (", and its bias." if bias else "."),
            f"{{W{n}}}^T {x}{bias}",
        )
    if (known := write_activation(layer)) is not None:
        name, function, _ = known
        about = (
            "The numbers of each sample become probabilities: positive, with the sum 1."
            if name == "softmax"
            else f"Each number goes through {name} by itself. If nothing but weighted sums came "
            "between two layers, they would be no more than one."
        )
        return node.step(
            node.y, "forward", f"Activation: {name}", function.replace("{z}", x), about
        )
    if isinstance(layer, BatchNorm | LayerNorm):
        about = (
            "Each feature is shifted and scaled by running averages over the batches of training, "
            "as in a prediction. A step of training takes those of its batch."
            if isinstance(layer, BatchNorm)
            else "Each sample is shifted and scaled to mean 0 and variance 1 over its features."
        )
        return node.step(
            *(node.y, "forward", f"Normalisation ({node.kind})"),
            f"{{scale{n}}} ⊙ {_normalized(node)[0]} + {{shift{n}}}{_normalized(node)[1]}",
            f"{about} Then a learned scale and shift are applied.",
        )
    if isinstance(layer, Dropout):
        return node.step(
            *(node.y, "forward", "Dropout"),
            x,
            f"Nothing happens in a prediction. In a step of training, {layer.probability:.0%} of "
            "the numbers are set to 0 and the others scaled up.",
        )
    if isinstance(layer, Residual):
        return node.step(
            *(node.y, "forward", "Residual block"),
            f"{x} + block({x})",
            f"{len(layer.layers)} layers compute a correction, which is added to their input.",
        )
    return node.step(
        *(node.y, "forward", f"Layer {node.kind}"),
        f"{node.kind}({x})",
        f"{node.kind} is not a layer of the library: its forward is called.",
    )


def _normalized(node: _Node) -> tuple[str, str]:
    """Write the input of a normalisation with mean 0 and variance 1, and what is said after it."""
    x, n, layer = f"{{{node.x}}}", node.number, node.layer
    if isinstance(layer, BatchNorm):
        return f"({x} − {{mean{n}}}) / √({{variance{n}}} + {layer.epsilon:g})", ""
    epsilon = getattr(layer, "epsilon", 0.0)
    return "x̂", f", x̂ = ({x} − mean({x})) / √(variance({x}) + {epsilon:g})"


def _mark_prediction(step: Step) -> Step:
    return Step(
        *(step.symbol, step.phase, step.layer, f"{step.title}, the prediction"),
        *(f"Ŷ = {step.rows}", f"Ŷ = {step.columns}", step.about),
    )


def _write_link(formula: LossFormula, names: Names) -> Step:
    """Write the prediction."""
    equation = f"Ŷ = {{{names.prediction}}} = {formula.link}".replace(
        "{z}", f"{{{names.outputs[-1]}}}"
    )
    about = {
        "sigmoid({z})": "The last sums become probabilities between 0 and 1.",
        "softmax({z})": "The last sums become probabilities of the classes, with the sum 1.",
        "exp({z})": "The last sums are logarithms of rates.",
    }.get(formula.link, "The last sums become predictions.")
    return Step(names.prediction, "forward", None, "Prediction", equation, equation, about)


def _write_loss_steps(
    loss: Loss, formula: LossFormula, names: Names, n_out: int, weighted: bool
) -> Iterator[Step]:
    """Write the loss, and its gradient with respect to the last layer's output."""
    last, name = names.outputs[-1], type(loss).__name__
    share = str(n_out) if formula.mean and n_out > 1 else ""
    divisor = f"({share} {{m}})" if share else "{m}"
    value, gradient = (
        text.replace("{p}", f"{{{names.prediction}}}").replace("{y}", "{Y}")
        for text in (formula.value, formula.gradient)
    )
    weights = "weights ⊙ " if weighted else ""
    equation = f"{{L}} = (1/{divisor}) sum({weights}{value})"
    note = " log is the natural logarithm." if "log(" in value else ""
    note += f" {formula.note}" if formula.note else ""
    yield Step(
        *("L", "loss", None, f"Loss: {name}", equation, equation),
        f"How wrong the prediction is, as one number: the mean over the m samples.{note}",
    )
    per_sample = f"{weights}{gradient}" + (f" / {share}" if share else "")
    if per_sample == "({p} − {y})".format(p=f"{{{names.prediction}}}", y="{Y}"):
        per_sample = per_sample[1:-1]
    rows = f"{weights}{gradient} / {divisor}"
    abouts = (
        f"How much {what} grows per unit of each number of {{{last}}}: its derivative."
        f"{_explain_difference(formula)} All other gradients follow from it, layer by layer "
        "backwards, by the chain rule: the slope of the loss in a value is the product of all "
        "slopes on the way to it."
        for what in ("the loss", "the loss of each sample by itself")
    )
    yield Step(
        *(f"d{last}", "backward", None, f"From the loss back to {{d{last}}}"),
        *(f"{{d{last}}} = {rows}", f"{{d{last}}} = {per_sample}"),
        *abouts,
    )


def _explain_difference(formula: LossFormula) -> str:
    """Say why a gradient is the prediction minus the target."""
    if not formula.link or formula.gradient != "({p} − {y})":
        return ""
    name = formula.link.partition("(")[0]
    return f" The slope of the loss times that of {name} comes to the prediction minus the target."


def _write_gradients(node: _Node, names: Names) -> Iterator[Step]:
    """Write the gradients of a layer's parameters."""
    dy = f"{{d{node.y}}}"
    for path, symbol in names.parameters[node.index].items():
        columns = ""
        if type(node.layer) is Dense and path == "weight":
            rows, columns = f"{{{node.x}}}^T {dy}", f"(1/{{m}}) {{{node.x}}} {dy}^T"
            about = (
                f"A weight's gradient is the number that it multiplies times the {dy} of the unit "
                "that it leads to, summed over the samples."
            )
        elif type(node.layer) is Dense:
            rows, columns = f"sum({dy})", f"(1/{{m}}) sum({dy})"
            about = f"A bias is added as it is, so its gradient is {dy}, summed over the samples."
        elif type(node.layer) in (BatchNorm, LayerNorm):
            x_hat, rest = _normalized(node) if path == "scale" else ("", "")
            rows = f"sum({dy}{x_hat and ' ⊙ '}{x_hat})"
            rows, columns = f"{rows}{rest}", f"(1/{{m}}) {rows}{rest}"
            about = f"The {path} of each feature, summed over the samples."
        else:
            rows = f"{node.kind}.backward({dy})"
            about = f"The parameter {path} of the layer: its backward is called."
        yield node.step(f"d{symbol}", "gradient", f"Gradient of {{{symbol}}}", rows, about, columns)


def _write_backward(node: _Node) -> Step:
    """Write the gradient with respect to the input of a layer."""
    layer, n = node.layer, node.number
    x, y, dy = f"{{{node.x}}}", f"{{{node.y}}}", f"{{d{node.y}}}"
    columns = ""
    if type(layer) is Dense:
        title, rows, columns = f"Back through layer {n}", f"{dy} {{W{n}}}^T", f"{{W{n}}} {dy}"
        about = (
            f"Each number of {x} has gone into every unit of layer {n}. The loss changes with it "
            f"through all of these: the sum of each unit's {dy} times the weight in between."
        )
    elif (known := write_activation(layer)) is not None:
        name, _, slope = known
        title = f"Back through {name}"
        rows = f"{dy} ⊙ {slope}".replace("{z}", x).replace("{a}", y)
        about = (
            f"The chain rule: the loss changes with {x} as it does with {y}, times the slope of "
            f"{name} at {x}. One number for each unit and sample, of the shape of {x}."
        )
        if slope.startswith("["):
            about += f" [{x} > 0] is 1 where that holds, and else 0."
        if name == "softmax":
            rows = f"{y} ⊙ ({dy} − total({dy} ⊙ {y}))"
            about = f"The chain rule: each probability depends on all numbers of {x} of its "
            "sample, which total adds."
        elif name == "the identity":
            rows = dy
    elif type(layer) is BatchNorm:
        title = "Back through the normalisation"
        rows = f"{dy} ⊙ {{scale{n}}} / √({{variance{n}}} + {layer.epsilon:g})"
        about = "The running averages are constants here, so it is the chain rule of a line."
    elif type(layer) is LayerNorm:
        title = "Back through the normalisation"
        rows = (
            f"(h − mean(h) − x̂ ⊙ mean(h ⊙ x̂)) / √(variance({x}) + {layer.epsilon:g}), "
            f"h = {dy} ⊙ {{scale{n}}}{_normalized(node)[1]}"
        )
        about = "Mean and variance depend on the input too, which the two means take into account."
    elif type(layer) is Dropout:
        title, rows, about = "Back through dropout", dy, "Nothing happens on the way back either."
    elif type(layer) is Residual:
        title, rows = "Back through the residual block", f"{dy} + block.backward({dy})"
        about = "The sum passes its gradient on as it is, and the block adds its own."
    else:
        title, rows = f"Back through {node.kind}", f"{node.kind}.backward({dy})"
        about = "The backward of the layer is called."
    return node.step(f"d{node.x}", "backward", title, rows, about, columns)
