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
  /// power of two, every weight stays the same. Throws `limit` for numbers that become too large, and
  /// `io`.
  package func inTokens(
    chunksOf size: Int = usualChunkSize
  ) throws(ModelError) -> ImportanceMatrix {
    guard form == .dat else { return self }
    var matrix = self
    (matrix.form, matrix.chunkSize) = (.gguf, size)
    for (index, entry) in entries.enumerated() {
      for term in entry.terms.indices {
        matrix.entries[index].terms[term].factor = Float(size)
      }
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
      try entry.forEachSums { (sums) throws(ModelError) in try body(sums.littleEndianBytes) }
      let padding = Self.padding(after: entry.valueCount)
      if !padding.isEmpty { try body(padding) }
      let counts = entry.counts.map { Float($0) }
      try body(counts.littleEndianBytes + Self.padding(after: counts.count))
    }
  }

  /// The zeros between some numbers and the next tensor.
  private static func padding(after count: Int) -> [UInt8] {
    let end = count * 4
    return [UInt8](
      repeating: 0, count: end.aligned(to: GGUFHeader.defaultAlignment) - end)
  }

  // MARK: - Data

  private func writeData(_ body: ([UInt8]) throws(ModelError) -> Void) throws(ModelError) {
    // llama-imatrix leaves out what no token has reached.
    let entries = entries.filter { !$0.isUnseen }
    try body(try Self.field(entries.count, "entries"))
    for entry in entries {
      let chunkCount = chunkCount(of: entry)
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
      bytes += try Self.field(entry.valueCount, "values", entry.name)
      try body(bytes)
      try forEachAverages(of: entry, chunkCount) { (averages) throws(ModelError) in
        try body(averages.littleEndianBytes)
      }
    }
    let dataset = Array((datasets.last ?? "").utf8)
    try body(
      try Self.field(chunkCount, "chunks") + Self.field(dataset.count, "bytes of the dataset")
        + dataset)
  }

  /// The number of chunks of an entry in a `.dat` file.
  private func chunkCount(of entry: Entry) -> Int {
    let largest = entry.counts.max() ?? 0
    guard form == .gguf else { return largest }
    let size = chunkSize ?? Self.usualChunkSize
    return largest / size + (largest % size == 0 ? 0 : 1)
  }

  /// Calls `body` with the numbers of an entry in a `.dat` file, some at a time.
  ///
  /// Throws `limit` for numbers that become too large, `io`, and what `body` throws.
  private func forEachAverages(
    of entry: Entry, _ chunkCount: Int, _ body: ([Float]) throws(ModelError) -> Void
  ) throws(ModelError) {
    guard form == .gguf else { return try entry.forEachSums(body) }
    try entry.forEachWeights { (weights) throws(ModelError) in
      let averages = weights.map { $0 * Float(chunkCount) }
      try entry.checkRange(averages)
      try body(averages)
    }
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
