internal import Bytes
public import TensorModel

extension ImportanceMatrix {
  /// Calls `body` with the bytes of a file, piece by piece, as llama-imatrix writes them.
  ///
  /// The counts become tokens in GGUF and chunks in `.dat`. Throws `unsupported` for what the form
  /// cannot hold, and what `body` throws.
  public func forEachPiece(
    as form: Form, _ body: ([UInt8]) throws(ModelError) -> Void
  ) throws(ModelError) {
    do throws(ModelError) {
      guard entries.contains(where: { form == .gguf || !$0.isUnseen }) else {
        throw ModelError(
          .unsupported, "there is no entry to write",
          found: entries.isEmpty ? "nothing" : "only weights that saw no token")
      }
      switch form {
      case .gguf: try inTokens().writeGGUF(body)
      case .dat: try writeData(body)
      }
    } catch {
      throw error.located(file: path)
    }
  }

  /// The length of the file in bytes.
  ///
  /// Throws what `forEachPiece` throws.
  public func byteCount(as form: Form) throws(ModelError) -> Int {
    var count = 0
    try forEachPiece(as: form) { (piece) throws(ModelError) in count += piece.count }
    return count
  }

  // MARK: - Units

  /// The same with counts of tokens, and sums over tokens.
  ///
  /// `size` is the number of tokens in a chunk of a `.dat` file, which does not state it. With a
  /// power of two, every weight stays the same. Throws `limit` for numbers that become too large.
  package func inTokens(
    chunksOf size: Int = usualChunkSize
  ) throws(ModelError) -> ImportanceMatrix {
    guard form == .dat else { return self }
    var matrix = self
    (matrix.form, matrix.chunkSize) = (.gguf, size)
    for (index, entry) in entries.enumerated() {
      matrix.entries[index].sums = entry.sums.map { $0 * Float(size) }
      matrix.entries[index].counts = entry.counts.map { $0 * size }
      try matrix.entries[index].checkRange()
    }
    return matrix
  }

  // MARK: - GGUF

  /// The metadata of a GGUF file.
  package var metadata: Metadata {
    var names: [UInt8] = []
    for dataset in datasets { GGUFMetadata.append(text: Array(dataset.utf8), to: &names) }
    var metadata = Metadata()
    metadata.append("general.type", .text("imatrix"))
    metadata.append(
      Self.datasetsKey,
      .array(MetadataArray(elementType: .string, count: datasets.count, bytes: names)))
    metadata.append(Self.chunkCountKey, .u32(UInt32(clamping: chunkCount)))
    metadata.append(Self.chunkSizeKey, .u32(UInt32(clamping: chunkSize ?? Self.usualChunkSize)))
    return metadata
  }

  private func writeGGUF(_ body: ([UInt8]) throws(ModelError) -> Void) throws(ModelError) {
    var tensors: [StoredTensor] = []
    for entry in entries {
      // ggml states no dimension of 1 after the last one of more.
      let (columns, matrices) = (entry.columnCount, entry.matrixCount)
      let shapes = [
        (Self.sumsEnding, matrices > 1 ? [matrices, columns] : [columns]),
        (Self.countsEnding, matrices > 1 ? [matrices, 1] : [1]),
      ]
      for (ending, extents) in shapes {
        guard let shape = Shape(validating: extents),
          let tensor = StoredTensor(plain: entry.name + ending, shape, .f32)
        else { throw ModelError(.limit, "the entry is too large", tensor: entry.name) }
        try GGUFLayout.check(tensor)
        tensors.append(tensor)
      }
    }
    try body(GGUFLayout.header(tensors, metadata, GGUFHeader.defaultAlignment))
    for entry in entries {
      for numbers in [entry.sums, entry.counts.map { Float($0) }] {
        let count = numbers.count * 4
        let padding = count.aligned(to: GGUFHeader.defaultAlignment) - count
        try body(numbers.littleEndianBytes + [UInt8](repeating: 0, count: padding))
      }
    }
  }

  // MARK: - Data

  private func writeData(_ body: ([UInt8]) throws(ModelError) -> Void) throws(ModelError) {
    // llama-imatrix leaves out what no token has reached.
    let entries = entries.filter { !$0.isUnseen }
    try body(try Self.field(entries.count, "entries"))
    for entry in entries {
      let (values, chunkCount) = try averages(of: entry)
      let name = Array(entry.name.utf8)
      // A reader tells the file by the letters of its first name.
      guard name.count <= Self.largestNameLength, name.allSatisfy(Self.isLetter) else {
        throw ModelError(
          .unsupported, "a .dat file cannot hold the name", tensor: entry.name,
          expected: "at most \(Self.largestNameLength) letters, digits and dots",
          hint: "write the GGUF form")
      }
      var bytes = try Self.field(name.count, "bytes of a name", entry.name) + name
      bytes += try Self.field(chunkCount, "chunks", entry.name)
      bytes += try Self.field(values.count, "values", entry.name)
      try body(bytes)
      try body(values.littleEndianBytes)
    }
    let dataset = Array((datasets.last ?? "").utf8)
    try body(
      try Self.field(chunkCount, "chunks") + Self.field(dataset.count, "bytes of the dataset")
        + dataset)
  }

  /// The numbers of an entry in a `.dat` file, and their number of chunks.
  ///
  /// Throws `limit` for numbers that become too large.
  private func averages(
    of entry: Entry
  ) throws(ModelError) -> (values: [Float], chunkCount: Int) {
    let largest = entry.counts.max() ?? 0
    guard form == .gguf else { return (entry.sums, largest) }
    let size = chunkSize ?? Self.usualChunkSize
    let chunkCount = largest / size + (largest % size == 0 ? 0 : 1)
    let averages = Entry(
      name: entry.name, sums: entry.weights.map { $0 * Float(chunkCount) }, counts: [chunkCount])
    try averages.checkRange()
    return (averages.sums, chunkCount)
  }

  private static func field(
    _ count: Int, _ what: String, _ name: String? = nil
  ) throws(ModelError) -> [UInt8] {
    guard let count = Int32(exactly: count) else {
      throw ModelError(
        .unsupported, "the count of \(what) is too large for a .dat file", tensor: name,
        expected: "at most \(Int32.max)", found: "\(count)", hint: "write the GGUF form")
    }
    var bytes: [UInt8] = []
    bytes.append(littleEndian: count)
    return bytes
  }
}

extension [Float] {
  /// The little-endian bytes of the numbers.
  fileprivate var littleEndianBytes: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count * 4)
    for number in self { bytes.append(littleEndian: number.bitPattern) }
    return bytes
  }
}
