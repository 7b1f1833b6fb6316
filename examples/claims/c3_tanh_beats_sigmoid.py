# %% [markdown]
# # C3: In hidden layers, tanh almost always does better than sigmoid
#
# `tanh(z) = 2 sigmoid(2z) - 1`: the same curve, stretched to the range -1 to 1. Two things follow.
# Its outputs have a mean near zero, so the next layer is not pushed one way by all of its inputs;
# and its slope at zero is 1 and not 1/4, so less of the gradient is lost on the way back.
#
# Claims like this are easily "shown" by a learning rate that suits one side: the steps of sigmoid
# are smaller, because its slope is. So we race them twice: at the **same** learning rate, for each
# of three; and at the rate that suits **each best**, chosen by the loss on validation data.
# Everything else is the same: the layers of 16 units, the data, the initial weights, 200 steps on
# all samples. Who has the lower loss on test data wins the seed.
#
# We do that with one hidden layer and with three; with plain gradient descent, as in the textbook,
# and with Adam, which divides each gradient by its usual size. That makes up for small slopes, so
# it may well change the result.

# %%
import matplotlib.pyplot as plt
import numpy as np
from claim import BLUE, ORANGE, Claim, Finding, spread
from race import DATA, SEEDS, choose_best, race, wins

import anyback_nn as nn

claim = Claim(
    "c3_tanh_beats_sigmoid", "tanh in the hidden layer almost always does better than sigmoid."
)

# %%
ACTIVATIONS = {"tanh": nn.Tanh(), "sigmoid": nn.Sigmoid()}
RATES = {nn.GradientDescent: (0.5, 2.0, 8.0), nn.Adam: (0.01, 0.04, 0.16)}
SETTINGS = {
    "gradient descent, 1 hidden layer": (nn.GradientDescent, 1),
    "gradient descent, 3 hidden layers": (nn.GradientDescent, 3),
    "Adam, 1 hidden layer": (nn.Adam, 1),
    "Adam, 3 hidden layers": (nn.Adam, 3),
}
races = {
    setting: race(claim.backend, ACTIVATIONS, rule, RATES[rule], n_hidden)
    for setting, (rule, n_hidden) in SETTINGS.items()
}

# %% [markdown]
# How many of the ten seeds tanh wins, by learning rate; and the scores at the best rate of each.

# %%
same_rate, best_rate, best = {}, {}, {}
for setting, runs in races.items():
    rule, _ = SETTINGS[setting]
    same_rate[setting] = {
        name: [wins(runs[name, "tanh", rate], runs[name, "sigmoid", rate]) for rate in RATES[rule]]
        for name in DATA
    }
    best[setting] = {
        name: {label: choose_best(runs, name, label) for label in ACTIVATIONS} for name in DATA
    }
    best_rate[setting] = {name: wins(*best[setting][name].values()) for name in DATA}
    headers = [f"rate {rate}: tanh wins" for rate in RATES[rule]]
    claim.show(
        f"{setting[0].upper()}{setting[1:]}",
        ["data", *headers, "best rate of each", "test loss of tanh", "test loss of sigmoid"],
        [
            [
                name,
                *(f"{count} of {len(SEEDS)}" for count in same_rate[setting][name]),
                f"{best_rate[setting][name]} of {len(SEEDS)}",
                *(spread(run.test_loss for run in own) for own in best[setting][name].values()),
            ]
            for name in DATA
        ],
    )

# %% [markdown]
# ## The picture
# The shares of seeds that tanh wins. At the same small rate it nearly always does. At the rate that
# suits each best, that depends on the data, the depth and the optimiser.

# %%
figure, axes = plt.subplots(len(SETTINGS), 1, figsize=(6.4, 7.6), sharex=True)
for axis, setting in zip(axes, SETTINGS):
    places = np.arange(len(DATA))
    small = [same_rate[setting][name][0] for name in DATA]
    own = [best_rate[setting][name] for name in DATA]
    axis.barh(places - 0.2, small, 0.36, color=BLUE, label="same small rate")
    axis.barh(places + 0.2, own, 0.36, color=ORANGE, label="best rate of each")
    axis.axvline(9, color="black", linestyle=":", linewidth=1.5)
    axis.set(xlim=(0, len(SEEDS)), yticks=places, yticklabels=DATA)
    axis.invert_yaxis()
    axis.set_title(f"{setting[0].upper()}{setting[1:]}", loc="left")
axes[-1].set_xlabel(f"seeds of {len(SEEDS)} that tanh wins (dotted: almost always)")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)

# %% [markdown]
# ## The verdict
# "Almost always" is taken as at least nine times out of ten.


# %%
def judge(small_rate, best_rate, n_seeds):
    """Decide from the number of seeds that tanh has won, by setting and data set."""
    findings = []
    for how, by_setting in (("same small rate", small_rate), ("best rate of each", best_rate)):
        for setting, by_data in by_setting.items():
            total, most = sum(by_data.values()), n_seeds * len(by_data)
            counts = ", ".join(f"{name} {count}" for name, count in by_data.items())
            findings.append(
                Finding(
                    f"tanh wins 90 % with {setting}, {how}",
                    f"{total} of {most} ({counts})",
                    total >= 0.9 * most,
                )
            )
    return findings


small_rate = {
    setting: {name: counts[0] for name, counts in by_data.items()}
    for setting, by_data in same_rate.items()
}
claim.conclude(
    judge(small_rate, best_rate, len(SEEDS)),
    figure,
    "Seeds of ten that tanh wins against sigmoid on moons, circles and digits, for one and three "
    "hidden layers, gradient descent and Adam, at the same rate and at the best rate of each.",
)
