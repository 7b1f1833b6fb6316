"""Pictures of models and of their training, with the conventions of scikit-learn's displays.

``Display.from_estimator(...)`` computes what a picture shows and draws it, ``display.plot(ax=...)``
draws it again on axes of yours, and the numbers are attributes. All take an `anyback_nn.Model` or a
fitted estimator of `anyback_nn.sklearn`. Pictures follow Matplotlib's style sheets and settings.

ROC curves, precision and recall, and calibration are not here: `sklearn.metrics.RocCurveDisplay`,
`sklearn.metrics.PrecisionRecallDisplay` and `sklearn.calibration.CalibrationDisplay` draw them from
an estimator of `anyback_nn.sklearn`, or with ``from_predictions`` from ``model.predict(x)``.

It needs the extra ``plot``.
"""

from __future__ import annotations

import lazy_loader

# What a picture needs, such as scikit-learn, is imported when it is drawn.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
