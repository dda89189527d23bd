import Formats
import TensorModel

extension ImportanceMatrix.Entry {
  /// The sums of all columns.
  func sums() throws(ModelError) -> [Float] { try sums(in: 0..<valueCount) }

  /// The importance of all columns.
  func weights() throws(ModelError) -> [Float] { try weights(in: 0..<valueCount) }
}
