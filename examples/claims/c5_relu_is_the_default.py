# %% [markdown]
# # C5: ReLU for hidden layers, sigmoid for the output; leaky ReLU is sometimes better
#
# `relu(z) = max(z, 0)` costs one comparison, and its slope is 1 wherever it is not 0: however many
# layers a gradient passes on its way back, none of them makes it smaller. The price: a unit whose
# `z` is negative for **every** example has slope 0 for all of them. No gradient reaches its
# weights, so it stays like that: it is **dead**. The leaky ReLU keeps a slope of 0.01 there.
#
# We race four activations in the hidden layers, as in C3: ten seeds, three data sets, each
# activation at the learning rate (of four) that suits it best on validation data, everything else
# equal. Then we count dead units.

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
from claim import BLUE, GREEN, ORANGE, PINK, Claim, Finding, spread
from race import DATA, SEEDS, choose_best, draw_data, race, wins

import anyback_nn as nn
from anyback_nn.array_api import to_numpy

claim = Claim(
    "c5_relu_is_the_default",
    "ReLU is the default for hidden layers, sigmoid for the output of a binary classifier; leaky "
    "ReLU is sometimes better.",
)

# %%
ACTIVATIONS = {
    "ReLU": nn.ReLU(),
    "leaky ReLU": nn.LeakyReLU(),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
}
RATES = (0.1, 0.5, 2.0, 8.0)
DEPTHS = {"1 hidden layer": 1, "3 hidden layers": 3}
races = {
    depth: race(claim.backend, ACTIVATIONS, nn.GradientDescent, RATES, n_hidden)
    for depth, n_hidden in DEPTHS.items()
}
best = {
    (depth, name, label): choose_best(runs, name, label)
    for depth, runs in races.items()
    for name in DATA
    for label in ACTIVATIONS
}
won = {
    f"{label} against {other}": {
        depth: {name: wins(best[depth, name, label], best[depth, name, other]) for name in DATA}
        for depth in DEPTHS
    }
    for label, other in (("ReLU", "tanh"), ("ReLU", "sigmoid"), ("leaky ReLU", "ReLU"))
}
claim.show(
    f"Seeds of {len(SEEDS)} that the first one wins",
    ["data, depth", *won],
    [
        [f"{name}, {depth}", *(by_depth[depth][name] for by_depth in won.values())]
        for depth in DEPTHS
        for name in DATA
    ],
)
claim.show(
    f"Test loss, mean (lowest to highest) of {len(SEEDS)} seeds",
    ["data, depth", *ACTIVATIONS],
    [
        [
            f"{name}, {depth}",
            *(spread(run.test_loss for run in best[depth, name, label]) for label in ACTIVATIONS),
        ]
        for depth in DEPTHS
        for name in DATA
    ],
)

# %% [markdown]
# ## Dead units
# A hidden unit is dead if its `z` is below zero for all samples of the training data. A leaky unit
# can be there, too, but gets a gradient, and can come back. The larger the steps, the more units
# are thrown over the edge.


# %%
def count_dead(run, name, seed, slope):
    """Return the share of the hidden units that are negative on all training data."""
    a, *_ = draw_data(name, seed)
    n_units = n_dead = 0
    for layer in run.params[:-1]:
        if layer:  # activations have no parameters
            with np.errstate(over="ignore", invalid="ignore"):  # weights may be huge
                z = a @ layer["weight"] + layer["bias"]
                a = np.where(z > 0, z, slope * z)
            n_units, n_dead = n_units + z.shape[1], n_dead + int((z.max(axis=0) <= 0).sum())
    return n_dead / n_units


dead = {
    label: {
        rate: [
            count_dead(run, name, seed, slope)
            for depth in DEPTHS
            for name in DATA
            for seed, run in zip(SEEDS, races[depth][name, label, rate])
            if np.isfinite(run.test_loss)
        ]
        for rate in RATES
    }
    for label, slope in (("ReLU", 0.0), ("leaky ReLU", nn.LeakyReLU().slope))
}
claim.show(
    "Share of hidden units that no training sample activates, mean (lowest to highest)",
    ["activation", *(f"rate {rate}" for rate in RATES)],
    [
        [label, *(spread(shares, ".0%") for shares in by_rate.values())]
        for label, by_rate in dead.items()
    ],
)

# %% [markdown]
# ## The output of a binary classifier
# A sigmoid turns any number into a probability. Without it, the output can be any number (linear),
# or any number above zero (ReLU), and the squared error has to do. The threshold is 1/2 for all.

# %%
OUTPUTS = {
    "sigmoid": ([nn.Dense(1)], nn.BinaryCrossEntropy()),
    "linear": ([nn.Dense(1)], nn.MeanSquaredError()),
    "ReLU": ([nn.Dense(1), nn.ReLU()], nn.MeanSquaredError()),
}
accuracy, outside = {}, {}
for label, (last, loss) in OUTPUTS.items():
    accuracy[label], outside[label] = [], []
    for name in ("moons", "circles"):
        for seed in range(5):
            x, y, _, _, x_test, y_test = draw_data(name, seed)
            layers = [nn.Dense(16), nn.ReLU(), *last]
            model = nn.Model(*layers, loss=loss, backend=claim.backend, seed=seed)
            rule = nn.Adam(0.03)
            with warnings.catch_warnings():
                # The library warns of output units that are dead from the start: a result here.
                warnings.simplefilter("ignore", UserWarning)
                model.fit(x, y[:, None], optimizer=rule, epochs=15, batch_size=30, progress=False)
            outputs = to_numpy(model.predict(x_test))[:, 0]
            accuracy[label].append(float(np.mean((outputs > 0.5) == y_test)))
            outside[label].append(float(np.mean((outputs < 0) | (outputs > 1))))
claim.show(
    "The output unit: mean (lowest to highest) of five seeds on moons and circles",
    ["output", "test accuracy", "share of outputs below 0 or above 1"],
    [[label, spread(accuracy[label]), spread(outside[label], ".0%")] for label in OUTPUTS],
)

# %% [markdown]
# ## The picture

# %%
figure, (top, bottom) = plt.subplots(2, 1, figsize=(6.4, 8), height_ratios=[2.2, 1])
names = [f"{name}\n{depth}" for depth in DEPTHS for name in DATA]
places = np.arange(len(names))
for shift, (label, by_depth), color in zip((-0.27, 0, 0.27), won.items(), (BLUE, ORANGE, GREEN)):
    counts = [count for by_data in by_depth.values() for count in by_data.values()]
    top.barh(places + shift, counts, 0.25, color=color, label=label)
top.axvline(len(SEEDS) / 2, color="black", linestyle=":", linewidth=1.5)
top.set(yticks=places, xlim=(0, len(SEEDS)), xlabel=f"seeds of {len(SEEDS)} that the first wins")
top.set_yticklabels(names)
top.invert_yaxis()
top.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=1)
for label, color in (("ReLU", BLUE), ("leaky ReLU", PINK)):
    shares = [100 * np.mean(values) for values in dead[label].values()]
    bottom.semilogx(RATES, shares, "o-", color=color, label=label)
bottom.set(xlabel="learning rate", xticks=RATES, xticklabels=RATES)
bottom.set_ylabel("units without\nactive sample, %")
bottom.minorticks_off()
bottom.legend()

# %% [markdown]
# ## The verdict
# A default should win more often than not. "Sometimes" is at least one seed in four, and not all.


# %%
def judge(won, n_seeds, dead, accuracy, outside):
    """Decide from wins by depth and data set, shares of dead units, and scores of output units."""
    findings = []
    for pair, by_depth in won.items():
        total = sum(sum(by_data.values()) for by_data in by_depth.values())
        most = n_seeds * sum(map(len, by_depth.values()))
        counts = "; ".join(
            f"{depth}: {', '.join(f'{name} {count}' for name, count in by_data.items())}"
            for depth, by_data in by_depth.items()
        )
        leaky = pair.startswith("leaky")
        findings.append(
            Finding(
                f"{pair} wins {'sometimes (25 to 75 %)' if leaky else 'more than half'}",
                f"{total} of {most} ({counts})",
                0.25 <= total / most <= 0.75 if leaky else total / most > 0.5,
            )
        )
    deadliest = {label: max(map(np.mean, by_rate.values())) for label, by_rate in dead.items()}
    findings.append(
        Finding(
            "ReLU units die",
            f"on average up to {deadliest['ReLU']:.0%} of them, depending on the learning rate",
            deadliest["ReLU"] > 0,
        )
    )
    means = {label: float(np.mean(scores)) for label, scores in accuracy.items()}
    others = [label for label in means if label != "sigmoid"]
    findings.append(
        Finding(
            "As output of a binary classifier, sigmoid is the most accurate",
            ", ".join(f"{label} {mean:.3f}" for label, mean in means.items()),
            all(means["sigmoid"] >= means[label] for label in others),
        )
    )
    findings.append(
        Finding(
            "Its outputs alone are always probabilities",
            ", ".join(
                f"{label} {np.mean(shares):.0%} outside of 0 to 1"
                for label, shares in outside.items()
            ),
            max(outside["sigmoid"]) == 0 and all(max(outside[label]) > 0 for label in others),
        )
    )
    return findings


claim.conclude(
    judge(won, len(SEEDS), dead, accuracy, outside),
    figure,
    "Seeds of ten that ReLU wins against tanh and sigmoid, and leaky ReLU against ReLU, by data "
    "set and depth; and the share of units without an active sample by learning rate.",
)
