"""Write a classifier as one ONNX file: token ids and a mask in, logits out.

The graph cuts, ends and pads the messages as the classifier did in training, so that a caller needs only the tokenizer.
Every operation is of opset 17, which older runtimes on phones and in browsers have.
"""

import json

import numpy as np

from ..model.parameters import parameter_shapes
from ..system.errors import InputError

_OPSET, _IR = 17, 8
_LARGEST = 2**31 - 2**20  # bytes: a protobuf message ends at 2 GiB, and the graph needs some


def onnx_model(clf):
    """Return the bytes of the ONNX model of a Classifier.

    Inputs   input_ids, attention_mask (B, T), int64: the mask is 1 for a token and 0 for padding on the right
    Output   logits (B, C), float32

    The labels are the metadata entry "labels", a JSON list. Raises InputError if the package onnx is missing, or the
    model is too large for one file.
    """
    try:
        import onnx
    except ImportError:
        raise InputError("--onnx needs the package onnx: pip install 'numpygpt[onnx]'") from None
    size = sum(array.nbytes for array in clf.params.values())
    if size > _LARGEST:
        raise InputError(
            f"the model has {size / 1e9:.1f} GB, but one ONNX file holds at most 2.1 GB; export it for transformers"
        )
    graph = _Graph(onnx)
    graph("Identity", _logits(graph, clf), name="logits")
    value = onnx.helper.make_tensor_value_info
    whole, rows = onnx.TensorProto.INT64, ("batch", "tokens")
    inputs = [value(name, whole, rows) for name in ("input_ids", "attention_mask")]
    outputs = [value("logits", onnx.TensorProto.FLOAT, ("batch", len(clf.labels)))]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, "numpygpt", inputs, outputs, graph.tensors),
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR,
        producer_name="numpygpt",
    )
    onnx.helper.set_model_props(model, {"labels": json.dumps(clf.labels)})
    return model.SerializeToString()


class _Graph:
    """The nodes and constants of a graph. Calling it adds a node and returns the name of its output."""

    def __init__(self, onnx):
        self.onnx, self.nodes, self.tensors, self.known = onnx, [], [], {}

    def __call__(self, operation, *inputs, name=None, outputs=1, **attributes):
        names = [f"{operation}_{len(self.nodes)}_{n}" for n in range(outputs)] if name is None else [name]
        inputs = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        self.nodes.append(self.onnx.helper.make_node(operation, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def as_float(self, name):
        return self("Cast", name, to=self.onnx.TensorProto.FLOAT)

    def constant(self, value, name=None):
        """Return the name of a constant: an int is int64 of shape (1,), a float float32 of shape ()."""
        if isinstance(value, int):
            value = np.array([value])
        array = np.asarray(value, np.int64 if np.asarray(value).dtype.kind == "i" else np.float32)
        key = name or (array.dtype.kind, array.shape, array.tobytes())
        if key not in self.known:
            self.known[key] = name or f"constant_{len(self.known)}"
            self.tensors.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), self.known[key]))
        return self.known[key]


def _logits(g, clf):
    """Add the whole classifier. Return the name of the logits (B, C)."""
    config = clf.config
    for name in (*parameter_shapes(config), "head.weight", "head.bias"):
        g.constant(clf.params[name], name)
    ids, lengths = _messages(g, clf)  # (B, T), (B, 1)
    places = g("Range", np.array(0), g("Squeeze", _length(g, ids), 0), np.array(1))  # (T,)
    own = g("Less", places, lengths)  # (B, T)
    allowed = g("Unsqueeze", own, np.array([1, 2]))
    if clf.pooling.causal:
        allowed = g("And", allowed, g("LessOrEqual", places, g("Unsqueeze", places, 1)))
    hidden = g("Where", allowed, 0.0, -1e30)  # (B, 1, 1 or T, T), added to the scores
    x = g("Add", g("Gather", "wte.weight", ids), g("Gather", "wpe.weight", places))
    for n in range(config.n_layer):
        x = _block(g, x, hidden, f"h.{n}", config)
    x = _layernorm(g, x, "ln_f", config)
    return _linear(g, _pooled(g, x, own, places, lengths, clf.pooling.position), "head")


def _messages(g, clf):
    """Return (ids (B, T), lengths (B, 1)) of the messages, cut and padded as in training."""
    padding, end, context = clf.pad_to, clf.encoding.eot_token, clf.config.n_positions
    most = {None: context, "end": context - 1}.get(padding, padding)
    ids = g("Slice", "input_ids", 0, most, 1)
    lengths = g("Min", g("ReduceSum", "attention_mask", 1, keepdims=1), most)
    if padding is None:
        return ids, lengths
    added = 1 if padding == "end" else g("Sub", most, _length(g, ids))
    ids = g("Pad", ids, g("Concat", np.array([0, 0, 0]), added, axis=0), np.array(end))
    places = g("Range", np.array(0), g("Squeeze", _length(g, ids), 0), np.array(1))
    ids = g("Where", g("Less", places, lengths), ids, np.array(end))
    return ids, g("Add", lengths, 1) if padding == "end" else g("Add", g("Mul", lengths, 0), most)


def _length(g, ids):
    return g("Shape", ids, start=1)  # (1,)


def _block(g, x, hidden, name, config):
    heads, width = config.n_head, config.n_embd // config.n_head
    rows = _linear(g, _layernorm(g, x, f"{name}.ln_1", config), f"{name}.attn.c_attn")
    split = np.array([0, 0, heads, width])
    query, key, value = (
        g("Reshape", part, split) for part in g("Split", rows, np.array([config.n_embd] * 3), outputs=3, axis=2)
    )
    query = g("Mul", g("Transpose", query, perm=[0, 2, 1, 3]), width**-0.5)
    scores = g("MatMul", query, g("Transpose", key, perm=[0, 2, 3, 1]))
    weights = g("Softmax", g("Add", scores, hidden), axis=-1)
    mixed = g("MatMul", weights, g("Transpose", value, perm=[0, 2, 1, 3]))
    mixed = g("Reshape", g("Transpose", mixed, perm=[0, 2, 1, 3]), np.array([0, 0, config.n_embd]))
    x = g("Add", x, _linear(g, mixed, f"{name}.attn.c_proj"))
    wide = _linear(g, _layernorm(g, x, f"{name}.ln_2", config), f"{name}.mlp.c_fc")
    return g("Add", x, _linear(g, _gelu(g, wide), f"{name}.mlp.c_proj"))


def _layernorm(g, x, name, config):
    return g("LayerNormalization", x, f"{name}.weight", f"{name}.bias", axis=-1, epsilon=config.layer_norm_epsilon)


def _linear(g, x, name):
    return g("Add", g("MatMul", x, f"{name}.weight"), f"{name}.bias")


def _gelu(g, x):
    cubed = g("Mul", g("Mul", x, x), x)
    inner = g("Mul", g("Add", x, g("Mul", cubed, 0.044715)), (2 / np.pi) ** 0.5)
    return g("Mul", g("Mul", x, 0.5), g("Add", g("Tanh", inner), 1.0))


def _pooled(g, x, own, places, lengths, position):
    """Return the name of the row (B, D) of each message that the head reads."""
    if position == "first":
        return g("Squeeze", g("Slice", x, 0, 1, 1), 1)
    chosen = own if position == "mean" else g("Equal", places, g("Sub", lengths, 1))  # (B, T)
    total = g("ReduceSum", g("Mul", x, g("Unsqueeze", g.as_float(chosen), 2)), 1, keepdims=0)
    return g("Div", total, g.as_float(lengths)) if position == "mean" else total
