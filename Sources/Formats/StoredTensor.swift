package import TensorModel

/// What a stored tensor contains of the weight that it belongs to.
package enum PartRole: String, Sendable, Hashable, CaseIterable {
  /// The whole weight, as plain numbers.
  case values
  /// The whole weight, in blocks in the layout of another project.
  case blocks
  /// The codes of a grouped weight, as a bit stream.
  case codes
  /// One scale for each group.
  case scales
  /// One bias for each group.
  case biases
  /// One zero point for each group.
  case zeros
  /// The group of each column.
  case groupIndex
  /// The extents of the weight.
  case extents
  /// The number that multiplies or divides all scales.
  case factor
  /// The numbers of the codes.
  case table
  /// The scales of scales that are quantized themselves.
  case outerScales
  /// The numbers of the codes of such scales.
  case scaleTable
}

/// The stored tensors of a model, with access to their bytes for codecs that need it.
package struct StoredContents {
  /// The tensors, in file order.
  package let tensors: [StoredTensor]
  private let read: (Int, Range<Int>) throws(ModelError) -> [UInt8]

  /// Creates contents from tensors and a function that reads a range of bytes of one of them.
  package init(
    _ tensors: [StoredTensor],
    read: @escaping (Int, Range<Int>) throws(ModelError) -> [UInt8]
  ) {
    self.tensors = tensors
    self.read = read
  }

  /// The bytes in a range of a tensor, which must contain the range.
  ///
  /// Throws what reading throws.
  package func bytes(of tensor: Int, _ range: Range<Int>) throws(ModelError) -> [UInt8] {
    try read(tensor, range)
  }
}

/// One tensor as a container holds it; a codec makes weights from stored tensors.
///
/// A plan may have 400,000 of them, and few forms, so that equal forms share their memory. The parts
/// of a weight share its name, too, also if they have names of their own that follow from it.
package struct StoredTensor: Sendable, Hashable {
  /// The name of the weight that it is a part of.
  private(set) var weight: String
  private var form: Form

  /// The name in the file; the parts of one weight may share it.
  package var name: String {
    get { form.ending.map { $0.name(of: weight) } ?? weight }
    set {
      weight = newValue
      if form.ending != nil { form = Form(form.values) }
    }
  }

  /// What the name of a part has in place of the ending of the name of the weight.
  package struct NameEnding: Sendable, Hashable {
    fileprivate let replacedByteCount: Int
    fileprivate let text: String

    /// Creates the ending of a part, in place of one that the names of weights have.
    package init(_ text: String, replacing ending: String) {
      replacedByteCount = ending.utf8.count
      self.text = text
    }

    fileprivate func name(of weight: String) -> String {
      "\(Substring(weight.utf8.dropLast(replacedByteCount)))\(text)"
    }
  }

  /// Everything but the name.
  private struct Values: Sendable, Hashable {
    var role: PartRole
    var tensor: TensorForm
    var byteCount: Int
    var rows: RowLayout
    var storedByteCount: Int
    var blockByteCount: Int
    var content: [UInt8]?
  }

  private final class Form: Sendable {
    let values: Values
    let ending: NameEnding?

    init(_ values: Values, _ ending: NameEnding? = nil) {
      self.values = values
      self.ending = ending
    }
  }

  /// Creates a stored tensor of contiguous rows.
  ///
  /// It is written in one block unless `blockByteCount` is changed.
  package init(
    name: String, role: PartRole, shape: Shape, encoding: Encoding, rowByteCount: Int,
    byteCount: Int? = nil
  ) {
    let byteCount = byteCount ?? rowByteCount * shape.rowCount
    self.init(
      name: name, role: role, shape: shape, encoding: encoding,
      rows: RowLayout(rowByteCount: rowByteCount, byteCount: byteCount))
  }

  /// Creates a stored tensor with a row layout.
  ///
  /// It is written in one block unless `blockByteCount` is changed.
  package init(name: String, role: PartRole, shape: Shape, encoding: Encoding, rows: RowLayout) {
    self.init(partOf: name, nil, role: role, shape: shape, encoding: encoding, rows: rows)
  }

  /// Creates a part of a weight with a row layout.
  ///
  /// Its name is that of the weight with another ending; nil for the name of the weight.
  package init(
    partOf weight: String, _ ending: NameEnding?, role: PartRole, shape: Shape, encoding: Encoding,
    rows: RowLayout
  ) {
    self.weight = weight
    let byteCount = rows.byteCount
    form = Form(
      Values(
        role: role, tensor: TensorForm(shape: shape, encoding: encoding), byteCount: byteCount,
        rows: rows, storedByteCount: byteCount, blockByteCount: byteCount), ending)
  }

  /// The same part of another weight.
  func part(of weight: String) -> StoredTensor {
    var part = self
    part.weight = weight
    return part
  }

  /// Shares the memory of the same part of another weight, if only the weights differ.
  ///
  /// - Returns: Whether that is so.
  package mutating func share(_ other: StoredTensor) -> Bool {
    guard isLike(other), form.ending == other.form.ending else { return false }
    form = other.form
    return true
  }

  /// Whether it shares its memory with another tensor, from which only the weight differs.
  func hasForm(of other: StoredTensor) -> Bool { form === other.form }

  /// Whether another tensor differs in the name only.
  package func isLike(_ other: StoredTensor) -> Bool {
    form === other.form || form.values == other.form.values
  }

  package static func == (left: StoredTensor, right: StoredTensor) -> Bool {
    left.name == right.name && left.isLike(right)
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(name)
    hasher.combine(form.values)
  }

  private mutating func change(_ body: (inout Values) -> Void) {
    var values = form.values
    body(&values)
    form = Form(values, form.ending)
  }
}

extension StoredTensor {
  /// Whether the bytes of its name are sorted before those of another one.
  func isNamed(before other: StoredTensor) -> Bool {
    let (count, otherCount) = (stemByteCount, other.stemByteCount)
    if let isBefore = weight.precedes(other.weight, in: min(count, otherCount)) { return isBefore }
    guard count != otherCount else {
      return (form.ending?.text ?? "").utf8.lexicographicallyPrecedes(
        (other.form.ending?.text ?? "").utf8)
    }
    return name.utf8.lexicographicallyPrecedes(other.name.utf8)
  }

  /// The number of bytes that its name has in common with that of the weight.
  private var stemByteCount: Int { weight.utf8.count - replacedByteCount }

  /// The number of bytes at the end of the name of the weight that its name has others for.
  var replacedByteCount: Int { form.ending?.replacedByteCount ?? 0 }
}

extension String {
  /// Whether its bytes are sorted before those of another text; nil if so many are the same.
  func precedes(_ other: String, in byteCount: Int) -> Bool? {
    let (left, right) = (utf8Span.span, other.utf8Span.span)
    for index in 0..<byteCount where left[index] != right[index] {
      return left[index] < right[index]
    }
    return nil
  }
}

extension StoredTensor {
  /// What the bytes contain of the weight.
  package var role: PartRole { form.values.role }

  /// Its shape and encoding.
  package var tensorForm: TensorForm { form.values.tensor }

  /// The description of the tensor by itself, as if it were a weight.
  package var info: TensorInfo { TensorInfo(name: name, form.values.tensor) }

  /// The shape, row-major.
  package var shape: Shape {
    get { form.values.tensor.shape }
    set { change { $0.tensor = TensorForm(shape: newValue, encoding: $0.tensor.encoding) } }
  }

  /// The encoding of the bytes; for a part of a weight in a pleat file, the encoding of the weight.
  package var encoding: Encoding {
    get { form.values.tensor.encoding }
    set { change { $0.tensor = TensorForm(shape: $0.tensor.shape, encoding: newValue) } }
  }

  /// The length in bytes.
  package var byteCount: Int {
    get { form.values.byteCount }
    set { change { $0.byteCount = newValue } }
  }

  /// How the rows of the weight are arranged in the bytes.
  package var rows: RowLayout {
    get { form.values.rows }
    set { change { $0.rows = newValue } }
  }

  /// The number of bytes in the file; less than `byteCount` if the tensor is compressed.
  package var storedByteCount: Int {
    get { form.values.storedByteCount }
    set { change { $0.storedByteCount = newValue } }
  }

  /// The number of bytes that are written at a time; with compression, the length of a block.
  package var blockByteCount: Int {
    get { form.values.blockByteCount }
    set { change { $0.blockByteCount = newValue } }
  }

  /// The bytes, if they follow from the description of the weight; otherwise nil.
  package var content: [UInt8]? {
    get { form.values.content }
    set { change { $0.content = newValue } }
  }
}

extension StoredTensor {
  /// Creates a tensor of plain numbers; nil if they do not fill whole bytes or the size overflows.
  package init?(plain name: String, _ shape: Shape, _ type: ScalarType) {
    guard let byteCount = type.byteCount(of: shape.elementCount) else { return nil }
    self.init(
      name: name, role: .values, shape: shape, encoding: .plain(type),
      rowByteCount: type.byteCount(of: shape.columnCount) ?? 0, byteCount: byteCount)
  }
}
