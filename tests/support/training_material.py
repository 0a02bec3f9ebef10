"""A few training digits with their traced lines, made once for a test module that asks."""

from functools import cache

from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.models.zoo.training.dataset import Digits, load_split
from tessella.models.zoo.training.train import Material


@cache
def few(count: int = 40, size: int = 24) -> Material:
    train = load_split().train
    digits = Digits(train.images[:count], train.labels[:count], train.indices[:count])
    return Material.of(digits, Preprocessing(size=size, resize=size))
