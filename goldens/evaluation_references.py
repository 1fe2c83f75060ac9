"""What a model's answers are worth: `evaluation.npz` (answers and what is right) and `evaluation.json` (measures).

    pip install -r requirements.txt
    python evaluation_references.py

Measures are scikit-learn's, intervals SciPy's percentile bootstrap (rows drawn with replacement, 5,000 times), the exact
test SciPy's binomial test. The expected calibration error is written out below as Guo et al. (2017) have it, equations 2
to 5: neither package has it.
"""

import importlib.metadata
import json
import warnings
from pathlib import Path

import numpy as np
import sklearn.metrics as metrics
from scipy import special, stats

HERE = Path(__file__).resolve().parent
SEED = 20
ROWS, CLASSES, BINS = 600, 6, 15
DRAWN = 5_000


def expected_calibration_error(confidence, right, bins=BINS):
    edges = np.linspace(0, 1, bins + 1)
    total = 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return float(total)


def averaged(truth, predicted, averages):
    found = {}
    for average in averages:
        scores = metrics.precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)
        for name, value in zip(["precision", "recall", "F1"], scores):
            found[f"{name}, {average} mean"] = float(value)
    return found


def classification(logits, truth, top=5):
    p = special.softmax(logits.astype(np.float64), axis=1)
    predicted = logits.argmax(axis=1)
    labels = np.arange(p.shape[1])
    found = {"accuracy": metrics.accuracy_score(truth, predicted)}
    found[f"top-{top} accuracy"] = metrics.top_k_accuracy_score(truth, logits, k=top, labels=labels)
    found |= averaged(truth, predicted, ["macro", "weighted"])
    found["log loss"] = metrics.log_loss(truth, p, labels=labels)
    found["Brier score"] = metrics.brier_score_loss(truth, p, labels=labels)
    found["expected calibration error"] = expected_calibration_error(p.max(axis=1), predicted == truth)
    return found


def by_class(logits, truth):
    scores = metrics.precision_recall_fscore_support(
        truth, logits.argmax(axis=1), labels=np.arange(logits.shape[1]), zero_division=0
    )
    return np.stack(scores[:3], axis=1).tolist()


def multi_label(logits, truth):
    p = special.expit(logits.astype(np.float64))
    predicted = (p > 0.5).astype(int)
    found = {"exact match": metrics.accuracy_score(truth, predicted)}
    found["label accuracy"] = 1 - metrics.hamming_loss(truth, predicted)
    found |= averaged(truth, predicted, ["micro", "macro", "weighted"])
    flat, set_ = p.ravel(), truth.ravel()
    found["log loss"] = metrics.log_loss(set_, flat)
    found["Brier score"] = metrics.brier_score_loss(set_, flat)
    found["expected calibration error"] = expected_calibration_error(flat, set_)
    return found


def regression(predicted, truth):
    predicted, truth = predicted.astype(np.float64), truth.astype(np.float64)
    found = {"mean absolute error (MAE)": metrics.mean_absolute_error(truth, predicted)}
    found["root mean squared error (RMSE)"] = metrics.root_mean_squared_error(truth, predicted)
    found["R²"] = metrics.r2_score(truth, predicted)
    r = [stats.pearsonr(truth[:, k], predicted[:, k]).statistic for k in range(truth.shape[1])]
    found["correlation r"] = float(np.mean(r))
    found["mean error (bias)"] = float((predicted - truth).mean())
    found["largest error"] = float(abs(predicted - truth).max())
    return found


def intervals(of, names, *arrays):
    """Percentile intervals of some measures, each of the same draws."""
    random = np.random.default_rng(SEED)
    drawn = []
    for _ in range(DRAWN):
        rows = random.integers(0, ROWS, ROWS)
        drawn.append([of(*(array[rows] for array in arrays))[name] for name in names])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return {name: [float(a), float(b)] for name, a, b in zip(names, low, high)}


def scored(logits, truth):
    """The measures of a classification whose intervals are asked for, fast enough for many draws."""
    p = special.softmax(logits.astype(np.float64), axis=1)
    predicted = logits.argmax(axis=1)
    matrix = np.zeros((CLASSES, CLASSES))
    np.add.at(matrix, (truth, predicted), 1)
    hit, there, said = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    return {
        "accuracy": (predicted == truth).mean(),
        "F1, macro mean": (2 * hit / np.maximum(there + said, 1)).mean(),
        "log loss": -np.log(p[np.arange(len(truth)), truth]).mean(),
        "expected calibration error": expected_calibration_error(p.max(axis=1), predicted == truth),
    }


def errors(predicted, truth):
    truth = truth.astype(np.float64)
    e = predicted.astype(np.float64) - truth
    spread = ((truth - truth.mean(0)) ** 2).sum(0)
    return {
        "mean absolute error (MAE)": abs(e).mean(),
        "root mean squared error (RMSE)": np.sqrt((e**2).mean(0)).mean(),
        "R²": (1 - (e**2).sum(0) / spread).mean(),
    }


def main():
    warnings.simplefilter("error")
    random = np.random.default_rng(SEED)
    truth = random.choice(CLASSES, ROWS, p=[0.3, 0.25, 0.2, 0.15, 0.08, 0.02])

    def answers(strength, noise):
        return (strength * np.eye(CLASSES)[truth] + noise * random.normal(size=(ROWS, CLASSES))).astype(np.float32)

    one, two = answers(2.0, 1.0), answers(1.7, 1.1)
    set_ = (random.random((ROWS, 4)) < [0.5, 0.3, 0.2, 0.1]).astype(np.float32)
    label_logits = (3 * set_ - 2 + random.normal(size=set_.shape)).astype(np.float32)
    values = (random.normal(size=(ROWS, 2)) * [1, 40] + [0, 1000]).astype(np.float32)
    guesses = (values * 0.9 + random.normal(size=values.shape) * [0.3, 10] + [0.05, 100]).astype(np.float32)
    right = [logits.argmax(1) == truth for logits in (one, two)]
    alone = [int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())]
    names = list(scored(one, truth))

    def apart(a, b, t):
        first, second = scored(a, t), scored(b, t)
        return {name: first[name] - second[name] for name in names}

    references = {
        "versions": {name: importlib.metadata.version(name) for name in ("numpy", "scikit-learn", "scipy")},
        "seed": SEED,
        "drawn": DRAWN,
        "classification": [classification(one, truth), classification(two, truth)],
        "by_class": by_class(one, truth),
        "confusion": metrics.confusion_matrix(truth, one.argmax(1)).tolist(),
        "multi-label": multi_label(label_logits, set_.astype(int)),
        "regression": regression(guesses, values),
        "intervals": {
            "classification": intervals(scored, names, one, truth),
            "difference": intervals(apart, names, one, two, truth),
            "regression": intervals(errors, list(errors(guesses, values)), guesses, values),
        },
        "mcnemar": {"alone": alone, "p": float(stats.binomtest(alone[0], sum(alone)).pvalue)},
    }
    for name, value in scored(one, truth).items():
        assert abs(value - references["classification"][0][name]) < 1e-12, name
    for name, value in errors(guesses, values).items():
        assert abs(value - references["regression"][name]) < 1e-9, name
    # Numbers of float32, as a model gives them, in the type that the tests read.
    arrays = {"truth": truth, "one": one, "two": two, "labels": set_, "label_logits": label_logits}
    arrays |= {"values": values, "guesses": guesses}
    np.savez_compressed(
        HERE / "evaluation.npz", **{name: array.astype(np.float64) for name, array in arrays.items()}
    )
    text = json.dumps(references, indent=1, ensure_ascii=False)
    (HERE / "evaluation.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
