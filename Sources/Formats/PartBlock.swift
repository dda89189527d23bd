package import Bytes
package import TensorModel

/// A block of bytes of a stored tensor, which is written at once.
package struct PartBlock: Sendable {
  /// The source of the bytes.
  package enum Content: Sendable {
    /// Bytes in memory.
    case bytes([UInt8])
    /// A range of a file, which is copied without looking at its bytes.
    case range(InputFile, Range<Int>)
  }

  /// The index of the stored tensor.
  package var stored: Int
  /// The offset of the first byte in the stored tensor.
  package var offset: Int
  /// The bytes, or the range of a file that contains them.
  package var content: Content
  /// The stripes that the bytes are pieces of; nil if they are contiguous in the tensor.
  package var stripes: Stripes?

  /// The stripes of a stored tensor; a block has the same number of bytes of each.
  package struct Stripes: Sendable {
    /// The number of stripes.
    package var count: Int
    /// The distance from one stripe to the next in bytes.
    package var distance: Int

    package init(count: Int, distance: Int) {
      self.count = count
      self.distance = distance
    }
  }

  /// The number of bytes in the block.
  var byteCount: Int {
    switch content {
    case .bytes(let bytes): bytes.count
    case .range(_, let range): range.count
    }
  }

  package init(stored: Int, offset: Int, _ content: Content) {
    self.stored = stored
    self.offset = offset
    self.content = content
  }

  package init(stored: Int, offset: Int, bytes: [UInt8]) {
    self.init(stored: stored, offset: offset, .bytes(bytes))
  }
}

extension OutputFile {
  /// Writes a block of a stored tensor that begins at offset `start` of the file.
  ///
  /// Throws `io`.
  func write(_ block: PartBlock, at start: Int) throws(ModelError) {
    let offset = start + block.offset
    switch block.content {
    case .bytes(let bytes): try write(bytes, in: block.stripes, at: offset)
    case .range(let file, let range): try copy(range, of: file, to: offset)
    }
  }

  /// Writes the bytes of a block from `offset` of the file on, all of them or one stripe after the
  /// other.
  ///
  /// Throws `io`.
  package func write(
    _ bytes: [UInt8], in stripes: PartBlock.Stripes?, at offset: Int
  ) throws(ModelError) {
    guard let stripes else { return try write(bytes, at: offset) }
    try write(bytes.span, inStripes: stripes.count, distance: stripes.distance, at: offset)
  }
}
