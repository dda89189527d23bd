/// The shape and the encoding of a tensor.
///
/// A model may have 100,000 tensors and few forms, so tensors of one form share its memory.
package struct TensorForm: Sendable, Hashable {
  private let values: Values

  private final class Values: Sendable {
    let shape: Shape
    let encoding: Encoding

    init(_ shape: Shape, _ encoding: Encoding) {
      self.shape = shape
      self.encoding = encoding
    }
  }

  /// Creates a form that shares no memory yet.
  package init(shape: Shape, encoding: Encoding) { values = Values(shape, encoding) }

  /// The dimensions of the decoded tensor, row-major.
  package var shape: Shape { values.shape }

  /// How the numbers are stored.
  package var encoding: Encoding { values.encoding }

  /// The number of elements; 1 for a scalar.
  package var elementCount: Int { values.shape.elementCount }

  /// The number of rows: the product of all dimensions but the innermost; 0 if rows are empty.
  package var rowCount: Int { values.shape.rowCount }

  package static func == (left: TensorForm, right: TensorForm) -> Bool {
    left.values === right.values
      || left.values.shape == right.values.shape && left.values.encoding == right.values.encoding
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(values.shape)
    hasher.combine(values.encoding)
  }
}

// Copies of a shape and an encoding would take most of the time of these.
extension TensorForm {
  /// Whether the numbers are blocks in the layout of another project.
  package var isForeign: Bool {
    if case .foreign = values.encoding { true } else { false }
  }

  /// Whether the numbers are codes that are numbers themselves, with a scale for each tile.
  package var isScaled: Bool {
    if case .scaled = values.encoding { true } else { false }
  }

  /// Whether the numbers are quantized in groups.
  package var isGrouped: Bool {
    if case .grouped = values.encoding { true } else { false }
  }

  /// The codes and scales that the numbers consist of; nil for other encodings.
  package var scaled: ScaledCodes? {
    if case .scaled(let codes) = values.encoding { codes } else { nil }
  }

  /// Whether the numbers are in several stored tensors, which can only be decoded together.
  package var hasParts: Bool {
    switch values.encoding {
    case .grouped, .scaled: true
    case .plain, .foreign: false
    }
  }
}
