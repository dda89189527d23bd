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

  /// Compares what was read since the last call, or since a decoder was made, with the checksums that
  /// the files state, and looks for files that have been written meanwhile.
  ///
  /// Of a part that was not read as a whole, the rest is read. Throws `malformed` and `io`.
  package func checkRead() throws(ModelError) {
    try reader.checkRead()
    try checkUnchanged()
    reader.startChecking()
  }
}
