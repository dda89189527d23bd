internal import TensorModel
