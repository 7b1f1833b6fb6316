"""Planted mistakes: each makes the test fail that is there for it, and for the right reason.

A suite that passes may be one that sees nothing. Every row of `MUTANTS` is a mistake that people
make: it is planted in a process of its own, where one test, named in the row, must find it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec

import pytest
from planting import in_process, run

DEVICE = "array-api-strict:device1"


@dataclass(frozen=True)
class Mutant:
    """A mistake, and what finds it.

    ``original`` occurs once in a ``file`` of the package and is replaced by ``mistake``; then
    ``test``, on the backend ``row``, fails with an error in which ``says`` is found.
    """

    name: str
    file: str
    original: str
    mistake: str
    test: str
    row: str
    says: str


MUTANTS = (
    # What a backend is there to refuse.
    Mutant(
        "an activation writes into its input",
        "network/activations.py",
        "return array_namespace(z).maximum(z, 0.0)",
        "z[z < 0] = 0.0\n    return z",
        "testing/test_testing_gradients.py::test_every_layer_passes[numpy-float64-relu]",
        "numpy",
        "forward writes into an array",
    ),
    Mutant(
        "dropout writes into its input",
        "network/layers.py",
        "return x * scale, scale",
        "x *= scale\n        return x, scale",
        "network/test_network_compile.py::test_layer[numpy:readonly-float32-Dropout]",
        "numpy:readonly",
        "read-only",
    ),
    Mutant(
        "a layer overwrites what a block around it still needs",
        "network/activations.py",
        "return z * sigmoid(z)",
        "z *= sigmoid(z)\n    return z",
        "testing/test_testing_gradients.py::test_every_layer_passes[numpy-float64-Network]",
        "numpy",
        r"the worst entry is that of 1\.",
    ),
    Mutant(
        "the classes of a one-hot row are made on the default device",
        "network/losses.py",
        "xp.arange(n_out, dtype=targets.dtype, device=device(targets))",
        "xp.arange(n_out, dtype=targets.dtype)",
        f"network/test_network_compile.py::test_loss[{DEVICE}-float32-SoftmaxCrossEntropy, "
        "classes-unweighted]",
        DEVICE,
        "two different devices",
    ),
    Mutant(
        "a layer calls NumPy",
        "network/layers.py",
        "centered = x - xp.mean(x, axis=-1, keepdims=True)",
        "import numpy as np\n\n        centered = x - np.mean(x, axis=-1, keepdims=True)",
        f"network/test_network_compile.py::test_layer[{DEVICE}-float32-LayerNorm]",
        DEVICE,
        "read back to the host by NumPy",
    ),
    Mutant(
        "a step branches on a value",
        "optim/optimizers.py",
        "return tuple(xp.where(largest > within, u * within, g) for g, u in zip(grads, units))",
        "return tuple(u * within for u in units) if largest > within else grads",
        "optim/test_optimizers.py::"
        f"test_clipping_limits_elements_and_then_the_norm[{DEVICE}-short-packed]",
        DEVICE,
        r"read back to the host by bool\(\)",
    ),
    Mutant(
        "a step reads its loss",
        "training/step.py",
        "report = (value, *(",
        "report = (float(value), *(",
        f"training/test_callbacks.py::test_callbacks_are_called_in_order[{DEVICE}]",
        DEVICE,
        r"read back to the host by float\(\)",
    ),
    Mutant(
        "the loop fetches the loss of every step",
        "training/loop.py",
        "fit.progress.add(report, [n_samples], [rate])",
        "to_numpy(report[0])\n        fit.progress.add(report, [n_samples], [rate])",
        "testing/test_testing_host_reads.py::test_no_loss_reads_a_value[MeanSquaredError()]",
        "numpy",
        r"\(\{1\}, \[4, 4\]\) == \(\{0\}, \[1, 1\]\)",
    ),
    Mutant(
        "booleans are multiplied with numbers",
        "network/losses.py",
        "xp.astype(targets[..., None] == classes, outputs.dtype)",
        "targets[..., None] == classes",
        "network/test_network_compile.py::test_loss[array-api-strict-float32-SoftmaxCrossEntropy, "
        "classes-unweighted]",
        "array-api-strict",
        "Only numeric dtypes are allowed in __mul__",
    ),
    Mutant(
        "a rule makes a float64 array of a number",
        "optim/optimizers.py",
        "change *= length",
        "change *= array_namespace(p).asarray(length)",
        "test_model.py::test_everything_keeps_its_dtype_and_device[array-api-strict-float32]",
        "array-api-strict",
        "float64",
    ),
    Mutant(
        "a rule computes with a float64 of NumPy",
        "optim/optimizers.py",
        "change *= length\n        p -= change",
        "import numpy as np\n\n        p = p - np.float64(length) * change",
        "test_model.py::test_everything_keeps_its_dtype_and_device[numpy-float32]",
        "numpy",
        "float64",
    ),
    Mutant(
        "an array is made without its dtype",
        "network/losses.py",
        "xp.full_like(values, share)",
        "xp.full(values.shape, share)",
        "network/test_network_compile.py::test_loss[numpy-float32-MeanSquaredError-unweighted]",
        "numpy",
        "float64",
    ),
    # Derivatives.
    Mutant(
        "a derivative has the wrong sign",
        "network/activations.py",
        "return 1.0 - a * a",
        "return 1.0 + a * a",
        "network/test_network_gradients.py::test_layer[numpy-tanh-1]",
        "numpy",
        r"assert \d\.\d+ < 1e-06",
    ),
    Mutant(
        "the gradient of the mean loss lacks 1/m",
        "network/losses.py",
        "share = 1.0 / max(values.shape[-1], 1)",
        "share = 1.0",
        "network/test_network_gradients.py::test_loss[numpy-MeanSquaredError-unweighted-2]",
        "numpy",
        r"assert (3\.9999|4\.0000)\d* < 1e-06",
    ),
    Mutant(
        "the gradient of the bias is summed over the wrong axis",
        "network/layers.py",
        'grads["bias"] = xp.sum(dy, axis=-2)',
        'grads["bias"] = xp.sum(dy, axis=-1)',
        "testing/test_testing_gradients.py::test_every_layer_passes[numpy-float64-Dense]",
        "numpy",
        r"the gradient of bias has shape \(4,\), not \(3,\)",
    ),
    Mutant(
        "the gradient of the bias takes the first axis for the batch",
        "network/layers.py",
        'grads["bias"] = xp.sum(dy, axis=-2)',
        'grads["bias"] = xp.sum(dy, axis=0)',
        "network/test_network_properties.py::test_replicas_are_separate_runs[numpy-Dense]",
        "numpy",
        r"'grads\.bias': 0\.[1-9]",
    ),
    Mutant(
        "the weight is not transposed on the way back",
        "network/layers.py",
        'array_namespace(dy).matrix_transpose(params["weight"])',
        'params["weight"]',
        "network/test_network_gradients.py::test_layer[numpy-Dense-3]",
        "numpy",
        "matmul",
    ),
    Mutant(
        "the shortcut of a block has no derivative",
        "network/network.py",
        "return dx + dy, grads",
        "return dx, grads",
        "testing/test_testing_gradients.py::test_every_layer_passes[numpy-float64-Residual]",
        "numpy",
        "the worst entry is that of input",
    ),
    Mutant(
        "mean and variance of a batch count as constants",
        "network/layers.py",
        "if statistics is None:\n            dx",
        "if True:\n            dx",
        "testing/test_testing_gradients.py::test_every_layer_passes[numpy-float64-BatchNorm]",
        "numpy",
        "the worst entry is that of input",
    ),
    # Formulas.
    Mutant(
        "dropout does not scale up what it keeps",
        "network/layers.py",
        "scale *= 1.0 / (1.0 - self.probability)",
        "pass",
        "network/test_network_dropout.py::test_what_is_kept_is_scaled[numpy-float32-0.25]",
        "numpy",
        r"assert 0\.25",
    ),
    Mutant(
        "a batch is normalised by its unbiased variance",
        "network/layers.py",
        "variance = batch_mean(centered * centered, context.batch)",
        "variance = xp.var(x, axis=-2, keepdims=True, correction=1.0)",
        "testing/test_testing_gradients.py::test_every_layer_passes[numpy-float64-BatchNorm]",
        "numpy",
        "the worst entry is that of input",
    ),
    Mutant(
        "the maximum is not subtracted before a softmax",
        "network/activations.py",
        "powers = xp.exp(z - xp.max(z, axis=-1, keepdims=True))",
        "powers = xp.exp(z)",
        "network/test_network_mpmath.py::"
        "test_log_sum_exp_and_softmax[numpy-float32-[10000.0, 9999.0]]",
        "numpy",
        "overflow encountered in exp",
    ),
    Mutant(
        "the running means of Adam keep the bias of their start",
        "optim/optimizers.py",
        "1.0 - self.beta2**step",
        "1.0",
        "optim/test_optimizers.py::"
        "test_the_first_step_of_adam_has_the_length_of_the_learning_rate[numpy]",
        "numpy",
        "Not equal to tolerance rtol=1e-06",
    ),
    Mutant(
        "the penalties act on biases",
        "network/layout.py",
        "return 1.0 if everything or leaf.penalized else 0.0",
        "return 1.0",
        "optim/test_optimizers.py::test_penalties_act_on_weights_alone_by_default[numpy]",
        "numpy",
        "Arrays are not equal",
    ),
    Mutant(
        "a batch divides by the sum of its own weights",
        "network/losses.py",
        "xp.broadcast_to(weights * share, values.shape)",
        "xp.broadcast_to(weights / xp.sum(weights), values.shape)",
        "test_model.py::test_weights_pull_as_hard_in_small_batches_as_in_large_ones[numpy-1]",
        "numpy",
        r"assert 0\.\d+ == 0\.75 ± (0\.03|3\.0e-02)",
    ),
    Mutant(
        "a block writes its shortcut into its own output",
        "network/network.py",
        "return y + x, caches",
        "y += x\n        return y, caches",
        "network/test_network_gradients.py::"
        "test_layer[numpy-Residual that ends in an activation-3]",
        "numpy",
        "assert .* < 1e-06",
    ),
    Mutant(
        "the running variance is the biased one",
        "network/layers.py",
        "unbiased = n_samples / (n_samples - 1)",
        "unbiased = 1.0",
        "network/test_network_properties.py::"
        "test_batch_norm_averages_the_mean_and_the_unbiased_variance[numpy]",
        "numpy",
        "'variance': 0",
    ),
    Mutant(
        "a step forgets the state of the layers",
        "training/step.py",
        "report, network.next_state(args.state, cache)",
        "report, args.state",
        "test_model.py::test_training_moves_the_state_of_the_layers[numpy]",
        "numpy",
        "elements differ by more than",
    ),
    Mutant(
        "every epoch has the same dropout masks",
        "training/loop.py",
        'generator(model.seed, "noise", training.epoch)',
        'generator(model.seed, "noise")',
        "test_model.py::test_every_epoch_has_its_own_masks[numpy]",
        "numpy",
        "assert 1 == 3",
    ),
    Mutant(
        "a schedule does not move within an epoch",
        "training/loop.py",
        "schedule(done + position / n_batches, past)",
        "schedule(done, past)",
        "test_model.py::test_a_schedule_sees_how_far_the_epoch_has_come[numpy]",
        "numpy",
        r"\[0, 0, 0",
    ),
    Mutant(
        "a new optimiser continues the count of the old one",
        "training/state.py",
        "            step=0,\n",
        "",
        "test_model.py::test_another_optimizer_counts_its_own_steps[numpy]",
        "numpy",
        "assert 21 == 1",
    ),
    Mutant(
        "the norm of the first array clips all",
        "optim/optimizers.py",
        "xp.sqrt(sum(xp.sum(u * u) for u in units))",
        "xp.sqrt(xp.sum(units[0] * units[0]))",
        "optim/test_optimizers.py::"
        "test_clipping_limits_elements_and_then_the_norm[numpy-long-separate]",
        "numpy",
        "Not equal to tolerance",
    ),
    Mutant(
        "the logarithm of a probability near 1 loses its digits",
        "network/losses.py",
        "xp.log1p(-a)",
        "xp.log(1.0 - a)",
        "network/test_network_stability.py::"
        "test_a_small_loss_keeps_its_digits[numpy-float32-probability]",
        "numpy",
        "assert .* < 1e-05",
    ),
    Mutant(
        "balanced classes are counted in held-out rows too",
        "inputs/sample_weights.py",
        "[training]\n        factors = compute_class_weights(labels, weights, max(n_out, 2))",
        "\n        factors = compute_class_weights(labels, weights, 2)[training]",
        "inputs/test_batches.py::test_rows_that_are_held_out_have_no_part_in_the_weights",
        "numpy",
        r"1\.06666",
    ),
    Mutant(
        "L-BFGS counts a small part like a large one",
        "sklearn/lbfgs.py",
        "derived += batch.x.shape[0] / self.total * part",
        "derived += part / self.source.n_batches",
        "sklearn_estimators/test_sklearn_lbfgs.py::test_lbfgs_sums_over_parts_of_any_size",
        "numpy",
        "Not equal to tolerance rtol=1e-08",
    ),
    # Data and files.
    Mutant(
        "the encoding is learned from test rows too",
        "datasets/tables.py",
        "columns, notes = fit_columns(train.x)",
        "columns, notes = fit_columns(table.rows.x)",
        "datasets/test_datasets_tables.py::test_only_the_training_part_is_learned_from[parquet]",
        "numpy",
        r"assert Encoding\(.* == Encoding\(",
    ),
    Mutant(
        "rows of a group are in both parts",
        "datasets/blocks.py",
        "return Blocks(encode_strings(strings).codes)",
        "return Blocks(np.arange(len(strings)))",
        "datasets/test_datasets_parts.py::test_rows_of_a_group_are_in_one_part[cost]",
        "numpy",
        r"assert not",
    ),
    Mutant(
        "rows of equal scores are ranked by their order",
        "cli/metrics.py",
        "heights = hits - np.diff(hits, prepend=0) / 2",
        "heights = hits",
        "cli/test_cli_metrics.py::test_ranks_with_ties",
        "numpy",
        r"assert .* == .* ± ",
    ),
    Mutant(
        "the rows of training are measured as the test part",
        "cli/evaluate.py",
        "Rows(dataset.x_test, dataset.y_test, (), is_test_part=True)",
        "Rows(dataset.x_train, dataset.y_train, (), is_test_part=True)",
        "cli/test_cli_evaluate.py::test_built_in_data_are_divided_as_in_training",
        "numpy",
        r"\(950, ",
    ),
    Mutant(
        "gaps are filled with the mean",
        "datasets/features.py",
        "np.where(np.isnan(values), self.median, values)",
        "np.where(np.isnan(values), self.mean, values)",
        "datasets/test_datasets_features.py::test_numbers_are_those_of_scikit_learn[0]",
        "numpy",
        "Arrays are not equal",
    ),
    Mutant(
        "an unknown category is taken for the last one",
        "datasets/features.py",
        "(rows,) = np.nonzero(index >= 0)",
        "rows = np.arange(len(x))",
        "datasets/test_datasets_features.py::test_categories_are_those_of_scikit_learn[0.0-0.0]",
        "numpy",
        "Arrays are not equal",
    ),
    Mutant(
        "the header alone decides on the separator",
        "datasets/text.py",
        "if widths[0] > 1 and len(set(widths)) == 1:",
        "if widths[0] > 1:",
        "datasets/test_datasets_text.py::test_commas_in_the_header_are_no_separators",
        "numpy",
        "has 1 value: expected 2",
    ),
    Mutant(
        "columns of a data frame are taken in their order",
        "inputs/frames.py",
        "places = [place_of[name] for name in feature_names]",
        "places = range(len(names))",
        "inputs/test_frames.py::test_any_order_of_the_columns_is_the_same",
        "numpy",
        "Arrays are not equal",
    ),
    Mutant(
        "all of a Parquet file is read for each part of it",
        "datasets/parquet_file.py",
        ".slice(start, n_rows).select(columns).collect()",
        ".select(columns).collect().slice(start, n_rows)",
        "datasets/test_datasets_parquet.py::test_what_is_not_needed_is_not_even_read",
        "numpy",
        r"long\.parquet: cannot be read",
    ),
    Mutant(
        "predictions have no more digits than outputs",
        "datasets/targets.py",
        "self.restore(np.asarray(values, dtype=np.float64))",
        "self.restore(np.asarray(values))",
        "datasets/test_datasets_targets.py::test_predictions_have_more_digits_than_outputs",
        "numpy",
        r"1700001792\.0 != 1700001800\.0",
    ),
    Mutant(
        "a file takes the place of another before it is on the disk",
        "utils/files.py",
        "os.fsync(file.fileno())",
        "file.flush()",
        "training/test_checkpoint.py::"
        "test_a_file_is_on_the_disk_before_it_takes_the_place_of_another",
        "numpy",
        "'in its place' != 'on the disk'",
    ),
    Mutant(
        "a file forgets in which epoch an optimiser began",
        "training/checkpoint.py",
        'training.first_epoch = settings["first_epoch"]',
        "pass",
        "test_model.py::test_a_resumed_run_is_the_uninterrupted_run[numpy]",
        "numpy",
        r"At index 3 diff: 0\.0085\d* != 0\.0090",
    ),
    # Epochs.
    Mutant(
        "the last partial batch is dropped",
        "inputs/batches.py",
        "for start in range(0, n, size)",
        "for start in range(0, n - size + 1, size)",
        "inputs/test_batches.py::"
        "test_an_epoch_has_every_row_once_and_uses_the_last_partial_batch[numpy]",
        "numpy",
        r"\[5, 5, 5, 5\] == \[5, 5, 5, 5, 3\]",
    ),
    Mutant(
        "a traced step overwrites what it reads again",
        "jit/memory.py",
        "and operand.buffer.last == position",
        "and True",
        "jit/test_jit_replay.py::test_what_is_still_needed_is_not_written_over[again]",
        "numpy",
        r"\[\[4.0, 8.0\]",
    ),
    Mutant(
        "a kernel on CuPy reads a transposed matrix while writing it",
        "jit/fusion.py",
        "view.path or view.buffer is not buffer",
        "view.buffer is not buffer",
        "jit/test_jit_cupy.py::test_steps[read_transposed_after_it_is_written]",
        "numpy",
        "not enough values to unpack",
    ),
    Mutant(
        "every epoch has the same order",
        "inputs/batches.py",
        'generator(self.seed, "order", number).permutation',
        'generator(self.seed, "order").permutation',
        "inputs/test_batches.py::test_the_order_is_new_in_each_epoch_and_fixed_by_the_seed[numpy]",
        "numpy",
        r"\]\] != \[\[",
    ),
    Mutant(
        "the mean of an epoch counts a small batch like a large one",
        "training/loop.py",
        "np.asarray(sizes, dtype=np.float64) @ table / sum(sizes)",
        "np.mean(table, axis=0)",
        "test_model.py::test_the_recorded_training_loss_is_the_mean_over_samples[numpy]",
        "numpy",
        r"assert 0\.\d+ == 0\.\d+ ± \d",
    ),
    Mutant(
        "half an epoch is kept after an interrupt",
        "training/loop.py",
        "before = model.training.copy(model.copy_tree)",
        "before = model.training",
        "test_model.py::test_a_fit_that_fails_leaves_the_last_finished_epoch[numpy]",
        "numpy",
        "Arrays are not equal|has not changed",
    ),
    Mutant(
        "a resumed run takes a step again",
        "training/loop.py",
        "if number < fit.progress.skipped:",
        "if number < fit.progress.skipped - 1:",
        "training/test_resume.py::test_a_run_resumes_from_any_step[numpy-20]",
        "numpy",
        "Arrays are not equal",
    ),
    Mutant(
        "the noise of steps that are passed over is not drawn",
        "training/loop.py",
        "inputs.skip((n_samples, *batch.x.shape[1:]))",
        "next(inputs.rates)",
        "training/test_resume.py::test_a_run_resumes_from_any_step[numpy-20]",
        "numpy",
        "Arrays are not equal",
    ),
    Mutant(
        "early stopping that is used again continues the run before",
        "training/callbacks.py",
        "self.best_epoch, self._best, self._best_state = fit.epoch, math.inf, None",
        "pass",
        "training/test_callbacks.py::test_early_stopping_that_is_used_again_starts_again[numpy]",
        "numpy",
        r"\(2, 1\) == \(3, 2\)",
    ),
    # Streams of a GPU.
    Mutant(
        "a batch is overwritten while it is copied",
        "backends/transfer.py",
        "slot.copied.synchronize()",
        "pass",
        "backends/test_transfer.py::test_batches_are_those_of_numpy[late-cupy-arrays]",
        "numpy",
        "Arrays are not equal",
    ),
    # Mixed precision.
    Mutant(
        "an overflow is looked at",
        "training/step.py",
        "taken = finite | (scale <= scaling.least)",
        "taken = finite if finite else scale <= scaling.least",
        f"training/test_mixed_precision.py::test_a_step_reads_nothing[{DEVICE}]",
        DEVICE,
        r"read back to the host by bool\(\)",
    ),
    Mutant(
        "an overflow is written over what it should leave",
        "training/step.py",
        "tree_copy(own), args.penalty_mask",
        "own, args.penalty_mask",
        "training/test_mixed_precision.py::test_an_overflow_is_no_step[numpy-adam-float32-float64]",
        "numpy",
        "Arrays are not equal",
    ),
    Mutant(
        "statistics are taken in float16",
        "network/precision.py",
        "wide if layer.full_precision or has_state else narrow",
        "narrow",
        "network/test_network_precision.py::test_squares_beyond_float16_are_normalized"
        "[numpy-batch-float16]",
        "numpy",
        "overflow encountered",
    ),
    # Checks that see less.
    Mutant(
        "derivatives are checked with the parameters of the beginning",
        "testing/gradients.py",
        "params = tree_map(around, layer.init(n_in, draws))",
        "params = tree_map(rounded, layer.init(n_in, draws))",
        "testing/test_testing_gradients.py::test_mistakes_are_explained"
        "[forgets the weight in backward-the worst entry is that of input]",
        "numpy",
        "DID NOT RAISE .*GradientError",
    ),
    Mutant(
        "a comparison begins without the statistics of the model",
        "testing/comparison.py",
        "replace(model.training, params=params, state=state).copy()",
        "replace(model.training, params=params).copy()",
        "testing/test_testing_comparison.py::test_a_model_with_parameters_is_where_the_runs_begin",
        "numpy",
        r"loss\s+\| \d\.\d+\s+\| \d\.\d+ ± ",
    ),
    Mutant(
        "a unit counts as dead if it is once inactive",
        "training/activity.py",
        "xp.all(steepness == 0.0, axis=-2)",
        "xp.any(steepness == 0.0, axis=-2)",
        "training/test_activity.py::test_units_that_are_never_active_are_dead[numpy]",
        "numpy",
        r"None, 0\.75, None",
    ),
    Mutant(
        "data are markup in a report",
        "report/build.py",
        "autoescape=True",
        "autoescape=False",
        "report/test_report_page_jinja2.py::test_what_comes_from_the_data_is_text",
        "numpy",
        "script",
    ),
    # What is explained.
    Mutant(
        "the textbook's gradient of a weight lacks 1/m",
        "explain/steps.py",
        'f"{{{node.x}}}^T {dy}", f"(1/{{m}}) {{{node.x}}} {dy}^T"',
        'f"{{{node.x}}}^T {dy}", f"{{{node.x}}} {dy}^T"',
        "explain/test_explain_steps.py::test_each_equation_gives_the_value_of_its_step"
        "[tanh, sigmoid]",
        "numpy",
        r"AssertionError: \{dW2\} = \{A1\} \{dZ2\}\^T",
    ),
    Mutant(
        "the worked update of Adam corrects the bias of the step before",
        "explain/rules.py",
        "v.m_hat = v.m_t / (1 - v.beta1**v.t)",
        "v.m_hat = v.m_t / (1 - v.beta1 ** (v.t - 1))",
        "explain/test_explain_explanation.py::test_the_update_is_recomputed_from_what_is_printed"
        "[adam-first layer]",
        "numpy",
        r"assert \S+ == .* ± ",
    ),
    # What ranks add.
    Mutant(
        "BatchNorm has the statistics of a rank",
        "network/layer.py",
        "return batch.add(xp.sum(x, axis=-2, keepdims=True)) / batch.n_samples",
        "return xp.mean(x, axis=-2, keepdims=True)",
        "distributed/test_ranks_of_threads.py::"
        "test_batch_norm_has_the_statistics_of_the_whole_batch[numpy-float64-9-2]",
        "numpy",
        "Not equal to tolerance",
    ),
    Mutant(
        "the gradients of a rank are divided by its own number of rows",
        "training/step.py",
        "d_outputs, report = args.share * d_outputs, tuple(args.share * x for x in report)",
        "report = tuple(args.share * x for x in report)",
        "distributed/test_ranks_of_threads.py::test_training[numpy-2]",
        "numpy",
        "Not equal to tolerance",
    ),
    Mutant(
        "a mask begins where that of the last rank ended",
        "random/draws.py",
        "philox.advance(n_blocks - end)",
        "philox.advance(0)",
        "distributed/test_ranks_of_threads.py::test_training[numpy-3]",
        "numpy",
        "Not equal to tolerance",
    ),
)
if find_spec("jinja2") is None:  # it is in the session of pages
    MUTANTS = tuple(mutant for mutant in MUTANTS if "_jinja2.py" not in mutant.test)
ROWS = tuple(dict.fromkeys(mutant.row for mutant in MUTANTS))


# The tests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS)
def test_without_a_mistake_the_named_tests_pass(row):
    named = {mutant.test for mutant in MUTANTS if mutant.row == row}
    status, outcomes, output = in_process(run, row, sorted(named))
    assert status == pytest.ExitCode.OK, output
    assert outcomes == dict.fromkeys(named, ("call", ""))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mistake_is_found(mutant):
    change = (mutant.file, mutant.original, mutant.mistake)
    status, outcomes, output = in_process(run, mutant.row, [mutant.test], change)
    assert list(outcomes) == [mutant.test], f"test: expected the id of one test\n{output}"
    assert status == pytest.ExitCode.TESTS_FAILED, f"the test does not see the mistake\n{output}"
    phase, error = outcomes[mutant.test]
    assert phase == "call"
    assert re.search(mutant.says, error), error
