/// The description of a tensor: its name, shape and encoding.
public struct TensorInfo: Sendable, Hashable {
  /// The name as stored in the file.
  public var name: String

  /// The shape and the encoding, in memory that tensors share.
  package var form: TensorForm

  /// Creates the description of a tensor.
  public init(name: String, shape: Shape, encoding: Encoding) {
    self.init(name: name, TensorForm(shape: shape, encoding: encoding))
  }

  /// Creates the description of a tensor of a form.
  package init(name: String, _ form: TensorForm) {
    self.name = name
    self.form = form
  }

  /// The dimensions of the decoded tensor, row-major.
  public var shape: Shape {
    get { form.shape }
    set { form = TensorForm(shape: newValue, encoding: form.encoding) }
  }

  /// How the numbers are stored.
  public var encoding: Encoding {
    get { form.encoding }
    set { form = TensorForm(shape: form.shape, encoding: newValue) }
  }

  /// Whether the numbers are quantized in groups.
  public var isGrouped: Bool { form.isGrouped }

  /// Whether the numbers are codes that are numbers themselves, with a scale for each tile.
  public var isScaled: Bool { form.isScaled }

  /// The codes and scales that the numbers consist of; nil for other encodings.
  public var scaled: ScaledCodes? { form.scaled }

  /// Whether the numbers are in several stored tensors, which can only be decoded together.
  package var hasParts: Bool { form.hasParts }
}
