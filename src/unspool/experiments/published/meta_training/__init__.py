"""Learned optimizers, meta-trained by several estimators."""
