"""Classifiers: groups of labels, their losses, predictions, figures and studies."""
