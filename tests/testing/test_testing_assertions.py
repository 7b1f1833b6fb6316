"""What `assert_close` accepts, refuses and says, on every backend."""

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.testing import assert_close, count_host_reads, no_host_reads
from anyback_nn.testing.assertions import expect

INF, NAN = float("inf"), float("nan")


def refuses(*arguments, **options):
    """Return the message of an assertion, which must fail."""
    with pytest.raises(AssertionError) as info:
        assert_close(*arguments, **options)
    return str(info.value)


def test_numbers_lists_and_arrays_are_desired(backend, dtype):
    x = backend.asarray([[0.5, -2.0], [NAN, INF]], dtype)
    assert_close(x, [[0.5, -2.0], [NAN, INF]])
    assert_close(x, ((0.5, -2), (NAN, INF)))
    assert_close(x, np.asarray([[0.5, -2.0], [NAN, INF]], dtype=dtype))
    assert_close(x, x)
    assert_close(x[0, 1], -2.0)
    assert_close(x[0, 1], -2)
    assert_close(x[0, 1], np.asarray(-2.0, dtype=dtype)[()])
    assert_close(x[:0, :], np.empty((0, 2), dtype))
    assert_close(x[:0, :0], np.empty((0, 0), "float16"), check_dtype=False)


def test_the_default_tolerance_is_half_of_the_digits(backend, dtype):
    rtol = float(np.finfo(dtype).eps) ** 0.5
    x = backend.asarray([1.0, -4.0], dtype)
    assert_close(x, [1 + 0.99 * rtol, -4 * (1 - 0.99 * rtol)])
    for desired in ([1 + 1.02 * rtol, -4.0], [1.0, -4 * (1 - 1.02 * rtol)]):
        refuses(x, desired)
    refuses(backend.asarray([1e-30], dtype), [0.0])  # relative to nothing, all is far
    assert_close(backend.asarray([1e-30], dtype), [0.0], atol=1e-29)
    assert_close(x, [1.1, -4.4], rtol=0.1)
    refuses(x, [1.2, -4.4], rtol=0.1)


def test_other_dtypes_of_floats(backend):
    for name in backend.library.half_dtypes:
        x = backend.xp.astype(backend.asarray([1.0, 2.0]), getattr(backend.xp, name))
        eps = float(backend.xp.finfo(x.dtype).eps)
        assert_close(x, [1 + 0.9 * eps**0.5, 2.0])
        refuses(x, [1 + 1.1 * eps**0.5, 2.0])
        assert f"got {name}" in refuses(x, np.asarray([1.0, 2.0], "float32"))


def test_it_decides_as_numpy_does(backend, finest):
    rng = np.random.default_rng(0)
    values = np.asarray([0.0, 1.0, 1.0 + 1e-3, -1.0, 1e3, 1e3 + 1, INF, -INF, NAN])
    verdicts = set()
    for _ in range(200):
        x, y = rng.choice(values, size=(2, 1, 2)).astype(finest)
        options = {
            "rtol": float(rng.choice([0.0, 1e-2])),
            "atol": float(rng.choice([0.0, 0.5])),
            "equal_nan": bool(rng.integers(2)),
        }
        outcomes = []
        for check, array in ((np.testing.assert_allclose, x), (assert_close, backend.asarray(x))):
            try:
                check(array, y, **options)
            except AssertionError:
                outcomes.append(False)
            else:
                outcomes.append(True)
        assert outcomes[0] == outcomes[1], (x, y, options)
        verdicts.update(outcomes)
    assert verdicts == {True, False}


def test_integers_and_booleans_are_exact(backend, finest):
    x = backend.asarray([1, 2**31 - 2], "int32")
    assert_close(x, [1, 2**31 - 2])
    refuses(x, [1, 2**31 - 1])
    assert_close(x, [2, 2**31 - 2], atol=1)
    assert_close(backend.asarray([True, False]), [True, False])
    refuses(backend.asarray([True, False]), [True, True])
    if finest == "float64":
        # In floats, these two are one number.
        refuses(backend.asarray([2**53 + 1], "int64"), [2**53])


def test_complex_numbers(backend, finest):
    if backend.spec == "array-api-strict:no_float64":
        pytest.skip("no complex128 there")
    x = backend.asarray(np.asarray([1 + 1j, complex(NAN, 1)]))
    assert_close(x, [1 + 1j, complex(NAN, 1)], check_dtype=False)
    refuses(x, [1 + 1.01j, complex(NAN, 1)])


# What must be right besides the values -----------------------------------------------------------


def test_shapes(backend, finest):
    x = backend.asarray([1.0, 1.0], finest)
    assert refuses(x, 1.0) == "expected shape (), got (2,)"
    assert refuses(x, [[1.0, 1.0]]) == "expected shape (1, 2), got (2,)"
    assert refuses(x[0], [1.0]) == "expected shape (1,), got ()"
    assert_close(x, 1.0, check_shape=False)
    assert "1 of 2 elements" in refuses(x, [[1.0, 2.0]], check_shape=False)
    message = refuses(x, [1.0, 1.0, 1.0], check_shape=False)
    assert message == "expected a shape that can be broadcast with (3,), got (2,)"


def test_dtypes(backend, finest):
    x = backend.asarray([1.0, 2.0], finest)
    other = "float16"
    assert refuses(x, np.asarray([1.0, 2.0], other)) == f"expected dtype {other}, got {finest}"
    assert_close(x, np.asarray([1.0, 2.0], other), check_dtype=False)
    assert refuses(x, [True, True]) == f"expected a dtype that is bool, as desired is, got {finest}"
    n = backend.asarray([1, 2], "int32")
    assert (
        refuses(n, [1.0, 2.0]) == "expected a dtype that is real floating, as desired is, got int32"
    )
    assert refuses(n, [True, True]) == "expected a dtype that is bool, as desired is, got int32"
    assert refuses(n > 1, [0, 1]) == "expected a dtype that is integral, as desired is, got bool"
    assert_close(n, [1.0, 2.0], check_dtype=False)


@pytest.mark.parametrize(
    "desired", ["one", ["one", "two"], np.asarray(["one", "two"]), [1.0, None], [[1.0], [1.0, 2.0]]]
)
@pytest.mark.parametrize("check_dtype", [True, False])
def test_what_is_desired_must_be_numbers(backend, finest, desired, check_dtype):
    x = backend.asarray([1.0, 2.0], finest)
    with pytest.raises(TypeError) as info:
        assert_close(x, desired, check_dtype=check_dtype)
    expected = f"expected desired to be an array or numbers, got {desired!r}"
    assert str(info.value).startswith(expected)


def test_arrays_of_a_device_in_a_list_are_no_numbers():
    backend = nn.select("array-api-strict:device1")
    x = backend.asarray([1.0, 2.0])
    message = (
        r"expected desired to be an array or numbers, got \[.*\]: Can't convert array on .*device1"
    )
    with (
        no_host_reads(),
        count_host_reads(backend) as counts,
        pytest.raises(TypeError, match=message),
    ):
        assert_close(x, [x[0], x[1]])
    assert dict(counts) == {}


def test_strings_are_not_compared():
    x = np.asarray(["a", "b"])
    assert refuses(x, [1.0, 2.0]) == "expected an array of numbers or booleans, got dtype <U1"
    with pytest.raises(TypeError, match="expected desired to be an array or numbers, got array"):
        assert_close(x, x)


def test_all_that_is_wrong_is_said_after_the_message_of_the_test(backend, finest):
    x = backend.asarray([1.0, 2.0], finest)
    message = refuses(x, np.asarray([1], "int32"), err_msg="in the second step")
    assert message.splitlines() == [
        "in the second step",
        f"expected dtype int32, got {finest}",
        "expected shape (1,), got (2,)",
    ]


def test_no_array(backend):
    assert refuses(1.0, 1.0) == "expected an array, got float 1.0"
    assert refuses([1.0], [1.0]) == "expected an array, got list [1.0]"


def test_the_library_is_that_of_the_backend_under_test(backend, finest):
    x = backend.asarray([1.0], finest)
    assert_close(x, np.ones(1, finest), xp=backend.xp)
    if backend.name != "numpy":
        message = refuses(np.ones(1), np.ones(1))
        assert message.endswith("got one of numpy")
        assert_close(np.ones(1), np.ones(1), xp=np)
        assert "expected an array of numpy, got one of" in refuses(x, [1.0], xp=np)
        with expect(None):
            assert_close(np.ones(1), np.ones(1))
            assert refuses(np.ones(1), x, check_dtype=False).endswith("got one of numpy")


def test_the_device_is_that_of_the_backend_under_test():
    strict, device1 = (nn.select(f"array-api-strict{end}") for end in ("", ":device1"))
    x, y = strict.asarray([1.0]), device1.asarray([1.0])
    with expect(device1):
        assert_close(y, x)
        assert refuses(x, [1.0]).startswith("expected device ")
        assert_close(x, [1.0], check_device=False)
        assert_close(x, [1.0], xp=strict.xp)
    assert refuses(x, y).startswith("expected device ")  # no backend is under test
    assert_close(x, y, check_device=False)
    assert_close(x, np.ones(1))
    with expect(strict):
        assert_close(x, y)


def test_arrays_of_two_libraries_are_not_compared():
    x = nn.select("array-api-strict").asarray([1.0])
    message = "expected desired to be of numpy, as actual is, or of NumPy, got array_api_strict"
    assert refuses(np.ones(1), x, xp=np) == message


# The message -------------------------------------------------------------------------------------


def test_the_message_names_the_worst_element(backend, finest):
    x = backend.asarray([[1.0, 2.0, 3.0], [4.0, 5.5, 6.1]], finest)
    message = refuses(x, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], rtol=1e-3)
    assert message == (
        "2 of 6 elements differ by more than 0.001 * abs(desired). The worst is [1, 1]: 5.5, "
        "desired 5.0 (absolute difference 0.5, relative 0.1)"
    )
    message = refuses(x, [[1.0, 2.0, 3.0], [NAN, 5.0, 6.0]], rtol=0.01, atol=0.2)
    assert message.startswith(
        "2 of 6 elements differ by more than 0.2 + 0.01 * abs(desired). The worst is [1, 0]: 4.0, "
        "desired nan"
    )
    message = refuses(x[0, 0], 0, rtol=0)
    expected = "1 of 1 element differs. 1.0, desired 0 (absolute difference 1, relative inf)"
    assert message == expected


def test_its_own_read_is_neither_refused_nor_counted():
    backend = nn.select("array-api-strict:device1")
    x = backend.asarray([1.0])
    with no_host_reads() as reads, count_host_reads(backend) as counts:
        assert_close(x, [1.0])
        refuses(x, [2.0])
    assert (reads.count, dict(counts)) == (0, {})


@pytest.mark.needs("torch")
def test_on_a_device_without_values_all_else_is_compared():
    import torch

    x = torch.ones((2, 3), device="meta")
    assert_close(x, [[5.0] * 3] * 2)
    assert refuses(x, [5.0]) == "expected shape (1,), got (2, 3)"
    assert refuses(x, torch.ones((2, 3))) == "expected device cpu, got meta"
