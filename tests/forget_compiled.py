"""Compiled functions that no other test has left."""


def forget_compiled(monkeypatch):
    """Forget what has been compiled, which is shared and would not call what a test puts in."""
    store = {}
    monkeypatch.setattr(
        "anyback_nn.training.engine._shared", lambda *key: store.setdefault(key, {})
    )
