"""Classified images in arrays: many images a file, as MNIST and CIFAR are distributed."""
