package import TensorModel

/// How one weight is written as stored tensors and read back; it knows nothing about files.
package protocol WeightCodec: Sendable {
  /// Whether weights of this encoding can be written, regardless of their shape.
  func admission(of encoding: Encoding) -> Admission

  /// Why a weight of this shape cannot be written although its grouping can; nil if it can.
  func shapeRefusal(_ shape: Shape, _ grouping: Grouping) -> String?

  /// The ending that the name of a grouped weight must have; nil if any name is allowed.
  var groupedNameEnding: String? { get }

  /// The types in which scales and biases can be stored.
  var parameterTypes: [ScalarType] { get }

  /// The name that the format's own tools have for a grouping, such as `Q4_1`; nil if they have none.
  func typeName(of grouping: Grouping) -> String?

  /// The stored tensors of an admitted weight; they do not depend on its numbers.
  func parts(of info: TensorInfo) -> [StoredTensor]

  /// The weights that stored tensors make up. Throws `malformed` if parts do not fit together.
  func gather(_ stored: StoredContents) throws(ModelError) -> [GatheredTensor]

  /// Throws `unsupported` if values of the rows cannot be stored although their grouping can.
  ///
  /// `firstRow` is the position of the first row in the weight.
  func check(_ rows: GroupedRows, firstRow: Int) throws(ModelError)

  /// Writes rows into the buffers of the parts, starting at row `firstRow` of the buffers.
  ///
  /// Each buffer contains some rows of its part, arranged by the `RowLayout` of the part.
  func write(_ rows: GroupedRows, into parts: inout [[UInt8]], firstRow: Int)

  /// Fills `rows` from the buffers of the parts, starting at row `firstRow` of the buffers.
  func read(_ parts: [[UInt8]], firstRow: Int, into rows: GroupedRows)

  /// The grouping that a reader finds in a weight that was written with `grouping`.
  func groupingAsRead(_ grouping: Grouping) -> Grouping

  /// The field of the scales within a part; nil if they have a part to themselves.
  func scaleField(of grouping: Grouping) -> ParameterField?

  /// The field of the biases; nil if the grouping has none, or does not store them as numbers.
  func biasField(of grouping: Grouping) -> ParameterField?
}

/// Whether a format can store a weight; decided before anything is written.
package enum Admission: Sendable, Hashable {
  /// It stores the same numbers.
  case exact
  /// It stores rounded numbers, for the reason given.
  case rounded(String)
  /// It cannot store the weight, for the reason given.
  case refused(String)
}

extension WeightCodec {
  package func shapeRefusal(_ shape: Shape, _ grouping: Grouping) -> String? { nil }

  package var groupedNameEnding: String? { nil }

  package var parameterTypes: [ScalarType] { Grouping.supportedParameters }

  package func typeName(of grouping: Grouping) -> String? { nil }

  package func check(_ rows: GroupedRows, firstRow: Int) {}

  package func groupingAsRead(_ grouping: Grouping) -> Grouping {
    guard parameterTypes.count == 1, let type = parameterTypes.first else { return grouping }
    var grouping = grouping
    grouping.parameters = type
    return grouping
  }

  package func scaleField(of grouping: Grouping) -> ParameterField? { nil }

  package func biasField(of grouping: Grouping) -> ParameterField? { nil }

  /// The single part of a tensor that is not grouped; it is the same in every codec.
  package func plainParts(of info: TensorInfo) -> [StoredTensor] {
    switch info.encoding {
    case .plain(let type):
      return StoredTensor(plain: info.name, info.shape, type).map { [$0] } ?? []
    case .foreign(let type):
      let rowByteCount = info.shape.columnCount / type.elementCount * type.byteCount
      return [
        StoredTensor(
          name: info.name, role: .blocks, shape: info.shape, encoding: info.encoding,
          rowByteCount: rowByteCount)
      ]
    case .grouped, .scaled:
      preconditionFailure("the weight is not one plain tensor")
    }
  }
}
