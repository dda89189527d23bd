// Users of the library import Pleat alone.
@_exported public import Adapters
@_exported public import Bytes
@_exported public import Formats
@_exported public import TensorModel
