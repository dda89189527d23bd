package import TensorModel
package import Weights

extension Model {
  /// The error for results that are infinite or not numbers.
  package var overflow: ModelError {
    ModelError(
      .malformed, "the model computes numbers that are not finite", file: path,
      hint: "find weights that are not finite: pleat inspect --check")
  }
}
