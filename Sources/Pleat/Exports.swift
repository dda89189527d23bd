// Users of the library need to import only Pleat.
@_exported public import Adapters
@_exported public import Bytes
@_exported public import Formats
@_exported public import Inference
@_exported public import TensorModel
@_exported public import Weights
