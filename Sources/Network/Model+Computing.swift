internal import Bytes
internal import Formats
package import TensorModel
package import Weights

extension Model {
  /// The error for results that are infinite or not numbers.
  package var overflow: ModelError {
    ModelError(
      .malformed, "the model computes numbers that are not finite", file: path,
      hint: "find weights that are not finite: pleat inspect --check")
  }

  /// Throws `io` if a file of the model has been written since it was opened.
  package func checkUnchanged() throws(ModelError) {
    for file in reader.files { try file.checkUnchanged() }
  }
}
