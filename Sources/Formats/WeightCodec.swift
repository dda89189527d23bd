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

/// A weight and the stored tensors it consists of.
package struct GatheredTensor: Sendable {
  /// The weight.
  package var info: TensorInfo
  /// Indices of the stored tensors, in the codec's order.
  package var parts: StoredIndices
  // Few weights need it. A model may have 100,000, so the others have no room for it.
  private var box: Box?

  private indirect enum Box: Sendable {
    case details(Details)
  }

  private struct Details: Sendable {
    var layouts: [RowLayout] = []
    var forms: [PartForm] = []
    var view: TensorView?
  }

  /// Creates a weight that is stored as it is.
  package init(
    info: TensorInfo, parts: some RandomAccessCollection<Int>, layouts: [RowLayout] = [],
    forms: [PartForm] = []
  ) {
    self.info = info
    self.parts = StoredIndices(parts)
    details = Details(layouts: layouts, forms: forms)
  }

  /// Creates a weight that is one stored tensor.
  init(info: TensorInfo, part: Int) {
    self.info = info
    parts = StoredIndices(part..<part + 1)
  }

  private var details: Details {
    get { if case .details(let details) = box { details } else { Details() } }
    set {
      let isEmpty = newValue.layouts.isEmpty && newValue.forms.isEmpty && newValue.view == nil
      box = isEmpty ? nil : .details(newValue)
    }
  }

  /// The row layout of each part; empty if rows are contiguous in all of them.
  package var layouts: [RowLayout] {
    get { details.layouts }
    set { details.layouts = newValue }
  }

  /// How the bytes of each part follow from the stored ones; empty if they are the same in all.
  package var forms: [PartForm] {
    get { details.forms }
    set { details.forms = newValue }
  }

  /// Whether another weight is stored in the same form, so that only names and places differ.
  ///
  /// `stored` has the stored tensors of both. Views that move rows are, whichever rows they have.
  package func isLike(_ other: GatheredTensor, in stored: [StoredTensor]) -> Bool {
    guard info.form == other.info.form, parts.count == other.parts.count else { return false }
    if box != nil || other.box != nil {
      let (own, others) = (details, other.details)
      guard (own.view == nil) == (others.view == nil), own.layouts == others.layouts,
        own.forms == others.forms
      else { return false }
    }
    for part in 0..<parts.count where !stored[parts[part]].isLike(stored[other.parts[part]]) {
      return false
    }
    return true
  }

  /// How the weight is read from another one with these parts; nil if it is stored as it is.
  package var view: TensorView? {
    get { details.view }
    set { details.view = newValue }
  }
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
