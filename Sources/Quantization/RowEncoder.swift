internal import Kernels
package import TensorModel

/// Writes rows of floats as bytes of an encoding without groups: plain numbers, or blocks of another
/// project.
///
/// `Quantizer` is for groups, which every format stores in its own way.
package protocol RowEncoder: Sendable {
  /// The encoding of the bytes.
  var encoding: Encoding { get }

  /// Encodes `values`, whole blocks of the encoding, into just as many bytes as they take.
  func encode(_ values: [Float], into bytes: inout MutableRawSpan)
}

/// The row encoders that Pleat knows; whatever makes an encoding without groups comes from here.
package enum RowEncoders {
  /// Every row encoder.
  package static let all: [any RowEncoder] = Grouping.supportedParameters.map {
    PlainEncoder(type: $0)
  }

  /// The encoder that makes an encoding; nil if Pleat only copies it.
  package static func encoder(for encoding: Encoding) -> (any RowEncoder)? {
    all.first { $0.encoding == encoding }
  }
}

/// Writes plain numbers, each rounded half to even.
private struct PlainEncoder: RowEncoder {
  let type: ScalarType

  var encoding: Encoding { .plain(type) }

  func encode(_ values: [Float], into bytes: inout MutableRawSpan) {
    FloatFormat(type).encode(values.span, into: &bytes)
  }
}
