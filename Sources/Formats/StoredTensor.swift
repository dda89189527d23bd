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
/// A plan may have 300,000 of them, and few forms, so that equal forms share their memory.
package struct StoredTensor: Sendable, Hashable {
  /// The name in the file; the parts of one weight may share it.
  package var name: String
  private var form: Form

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

    init(_ values: Values) { self.values = values }
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
    self.name = name
    let byteCount = rows.byteCount
    form = Form(
      Values(
        role: role, tensor: TensorForm(shape: shape, encoding: encoding), byteCount: byteCount,
        rows: rows, storedByteCount: byteCount, blockByteCount: byteCount))
  }

  /// Shares the memory of another tensor that differs in the name only.
  ///
  /// - Returns: Whether the tensors are so.
  package mutating func share(_ other: StoredTensor) -> Bool {
    guard isLike(other) else { return false }
    form = other.form
    return true
  }

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
    form = Form(values)
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
