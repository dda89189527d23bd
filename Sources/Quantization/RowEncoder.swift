package import Kernels
package import TensorModel

/// Writes rows of floats as bytes of an encoding without groups: plain numbers, or blocks of another
/// project.
///
/// `Quantizer` is for groups, which every format stores in its own way.
package protocol RowEncoder: Sendable {
  /// The encoding of the bytes.
  var encoding: Encoding { get }

  /// About how long it takes to encode a weight, in picoseconds of one thread.
  var picosecondsPerWeight: Int { get }

  /// Encodes whole blocks of the encoding into just as many bytes as they take.
  ///
  /// - Parameters:
  ///   - values: The numbers; for blocks, whole rows of the tensor.
  ///   - importance: How much the errors in these rows count; nil if all count the same. Plain
  ///     numbers have no use for it.
  ///   - bytes: Receives the bytes.
  /// - Throws: The fault of the first block with a value that is not finite, or with a scale that
  ///   is too large for F16. Plain numbers throw nothing: they may become infinite.
  func encode(
    _ values: [Float], weighing importance: ImportanceRows?, into bytes: inout MutableRawSpan
  ) throws(GroupFault)
}

/// Writes plain numbers, each rounded half to even.
package struct PlainEncoder: RowEncoder {
  /// The type of the numbers: F16, BF16 or F32.
  package let type: ScalarType

  /// Creates an encoder; nil for types that Pleat only copies.
  package init?(_ type: ScalarType) {
    guard Grouping.supportedParameters.contains(type) else { return nil }
    self.type = type
  }

  package var encoding: Encoding { .plain(type) }

  package func encode(
    _ values: [Float], weighing importance: ImportanceRows? = nil, into bytes: inout MutableRawSpan
  ) {
    FloatFormat(type).encode(values.span, into: &bytes)
  }
}
