package import Kernels
package import TensorModel

/// What a stored tensor holds of the weight it belongs to.
package enum PartRole: String, Sendable, Hashable, CaseIterable {
  /// All of it, one number after another.
  case values
  /// All of it, in blocks of another project's layout.
  case blocks
  /// The codes of a grouped weight, as a bit stream.
  case codes
  /// One scale for each group.
  case scales
  /// One bias for each group.
  case biases
  /// One zero point for each group.
  case zeros
  /// For each column the group that it is in.
  case groupIndex
  /// The extents of the weight.
  case extents
}

/// The stored tensors of a model, and what is in them where a spelling has to look.
package struct StoredContents {
  /// The tensors, in file order.
  package let tensors: [StoredTensor]
  private let read: (Int, Range<Int>) throws(ModelError) -> [UInt8]

  /// Tensors, and how to read bytes of one of them.
  package init(
    _ tensors: [StoredTensor],
    read: @escaping (Int, Range<Int>) throws(ModelError) -> [UInt8]
  ) {
    self.tensors = tensors
    self.read = read
  }

  /// Bytes of a tensor, which has that many.
  ///
  /// Throws what reading throws.
  package func bytes(of tensor: Int, _ range: Range<Int>) throws(ModelError) -> [UInt8] {
    try read(tensor, range)
  }
}

/// One stretch of bytes under a name: what a container keeps, and a spelling makes weights of.
package struct StoredTensor: Sendable, Hashable {
  /// The name in the file; the parts of one weight may share it.
  package var name: String
  /// What the bytes are of the weight.
  package var role: PartRole
  /// The extents, row-major.
  package var shape: Shape
  /// The encoding: of the weight as a whole for codes, scales and biases.
  package var encoding: Encoding
  /// The length in bytes.
  package var byteCount: Int
  /// Where the rows of the weight are in the bytes.
  package var rows: RowLayout
  /// The bytes that it takes in the file: fewer than `byteCount` where it is compressed.
  package var storedByteCount: Int
  /// The checksum of all bytes, where it is known before they are written: then they are carried
  /// over from a file that states it.
  package var checksum: CRC32C?
  /// The bytes that are written at a time, from the first: what a compressed block holds.
  package var blockByteCount: Int

  /// A stored tensor; it is written at once unless `blockByteCount` is changed.
  package init(
    name: String, role: PartRole, shape: Shape, encoding: Encoding, rowByteCount: Int,
    byteCount: Int? = nil
  ) {
    let byteCount = byteCount ?? rowByteCount * shape.rowCount
    self.init(
      name: name, role: role, shape: shape, encoding: encoding,
      rows: RowLayout(rowByteCount: rowByteCount, byteCount: byteCount))
  }

  /// A stored tensor whose rows lie in it so; it is written at once unless `blockByteCount` is
  /// changed.
  package init(name: String, role: PartRole, shape: Shape, encoding: Encoding, rows: RowLayout) {
    self.name = name
    self.role = role
    self.shape = shape
    self.encoding = encoding
    self.rows = rows
    byteCount = rows.lineCount * rows.lineByteCount
    storedByteCount = byteCount
    blockByteCount = byteCount
  }
}

extension StoredTensor {
  /// A tensor of plain numbers; nil when they do not fill whole bytes, or overflow.
  package init?(plain name: String, _ shape: Shape, _ type: ScalarType) {
    guard let byteCount = type.byteCount(of: shape.elementCount) else { return nil }
    self.init(
      name: name, role: .values, shape: shape, encoding: .plain(type),
      rowByteCount: type.byteCount(of: shape.columnCount) ?? 0, byteCount: byteCount)
  }
}
