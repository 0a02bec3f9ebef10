"""Small training set with traced strokes, built once and cached."""

from functools import cache

from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.models.zoo.training.dataset import Digits, load_split
from tessella.models.zoo.training.train import TrainingSet


@cache
def few(count: int = 40, size: int = 24) -> TrainingSet:
    train = load_split().train
    digits = Digits(train.images[:count], train.labels[:count], train.indices[:count])
    return TrainingSet.of(digits, Preprocessing(size=size, resize=size))
