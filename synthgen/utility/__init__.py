"""What a model is worth that was trained on a replacement dataset: training sets, trainings, intervals, verdicts."""
