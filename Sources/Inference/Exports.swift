// Users of the library need to import only Inference.
@_exported public import Bytes
@_exported public import Formats
@_exported public import TensorModel
@_exported public import Weights
