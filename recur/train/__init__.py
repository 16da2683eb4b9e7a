"""Training: losses, metrics, clipping, the training step, the training loop and checkpoints."""

from recur.serialization import register_namedtuples
from recur.train.checkpoint import Checkpoints, Restored
from recur.train.chunked_loss import chunked_cross_entropy, chunked_cross_entropy_sum
from recur.train.classification_metrics import (
    ConfusionMatrix,
    F1Score,
    accuracy,
    confusion_matrix,
    f1_score,
    top_k_accuracy,
)
from recur.train.clip import ClipByAverageNormState, clip_by_average_norm
from recur.train.ctc import ctc_loss
from recur.train.density_losses import gaussian_mixture_nll, gaussian_nll, quantile_loss
from recur.train.document_loss import make_document_loss
from recur.train.early_stopping import early_stopping
from recur.train.json_lines import JsonLines, read_json_lines
from recur.train.loggers import TensorBoard, WeightsAndBiases
from recur.train.loop import Report, every, every_epoch, fit
from recur.train.losses import bits, cross_entropy, masked_mean, perplexity
from recur.train.metrics import Average, Metric, accumulate, average, evaluate
from recur.train.model_card import write_model_card
from recur.train.params_ema import ParamsEmaState, ema_params, params_ema
from recur.train.params_file import load_params, read_metadata, save_params
from recur.train.penalties import by_path, l1, l2
from recur.train.quantized_params import QuantizedArray, dequantize_params, quantize_params
from recur.train.recorded_norms import (
    LayerNorms,
    RecordNormsState,
    record_norms,
    recorded_norms,
)
from recur.train.regression_metrics import (
    interval_coverage,
    mae,
    mase,
    rmse,
    seasonal_naive_error,
)
from recur.train.shard import gradient_by_device, make_sharded_step
from recur.train.span_metrics import span_f1
from recur.train.step import TrainState, init_state, make_step
from recur.train.text_metrics import (
    Bleu,
    bleu,
    character_error_rate,
    edit_distance,
    token_error_rate,
    word_error_rate,
)
from recur.train.weight_noise import weight_drop, weight_noise

register_namedtuples()

__all__ = [
    "Average",
    "Bleu",
    "Checkpoints",
    "ClipByAverageNormState",
    "ConfusionMatrix",
    "F1Score",
    "JsonLines",
    "LayerNorms",
    "Metric",
    "ParamsEmaState",
    "QuantizedArray",
    "RecordNormsState",
    "Report",
    "Restored",
    "TensorBoard",
    "TrainState",
    "WeightsAndBiases",
    "accumulate",
    "accuracy",
    "average",
    "bits",
    "bleu",
    "by_path",
    "character_error_rate",
    "chunked_cross_entropy",
    "chunked_cross_entropy_sum",
    "clip_by_average_norm",
    "confusion_matrix",
    "cross_entropy",
    "ctc_loss",
    "dequantize_params",
    "early_stopping",
    "edit_distance",
    "ema_params",
    "evaluate",
    "every",
    "every_epoch",
    "f1_score",
    "fit",
    "gaussian_mixture_nll",
    "gaussian_nll",
    "gradient_by_device",
    "init_state",
    "interval_coverage",
    "l1",
    "l2",
    "load_params",
    "mae",
    "make_document_loss",
    "make_sharded_step",
    "make_step",
    "mase",
    "masked_mean",
    "params_ema",
    "perplexity",
    "quantile_loss",
    "quantize_params",
    "read_json_lines",
    "read_metadata",
    "record_norms",
    "recorded_norms",
    "rmse",
    "save_params",
    "seasonal_naive_error",
    "span_f1",
    "token_error_rate",
    "top_k_accuracy",
    "weight_drop",
    "weight_noise",
    "word_error_rate",
    "write_model_card",
]
