internal import Bytes
internal import SystemPackage
internal import TensorModel

extension ImportanceMatrix {
  static let datasetsKey = "imatrix.datasets"
  static let chunkCountKey = "imatrix.chunk_count"
  static let chunkSizeKey = "imatrix.chunk_size"
  static let sumsEnding = ".in_sum2"
  static let countsEnding = ".counts"

  /// Reads a GGUF file.
  ///
  /// Throws what reading a header throws, `malformed`, and `unsupported` for another kind of file.
  static func readGGUF(
    _ path: String, _ limits: ReadLimits
  ) throws(ModelError) -> ImportanceMatrix {
    let reader = try GGUFReader(try ModelFiles(FilePath(path)), limits: limits)
    let pairs = try pairs(reader, path)
    let (datasets, chunkCount, chunkSize) = try facts(reader.metadata, path)
    var entries: [Entry] = []
    var faults: [ModelError] = []
    for pair in pairs {
      try checkShapes(reader.stored[pair.sums], reader.stored[pair.counts], path)
      let sums = StoredNumbers(pair.sums, of: reader)
      let stored = StoredNumbers(pair.counts, of: reader)
      let counts = try stored.read(0..<stored.count)
      let found = [
        try fault(in: sums, of: reader, pair.sums, path, matrixCount: counts.count),
        try fault(in: stored, of: reader, pair.counts, path, matrixCount: counts.count),
        overflow(of: counts, reader.stored[pair.counts].name, path),
      ]
      if let fault = found.lazy.compactMap(\.self).first { faults.append(fault) }
      entries.append(
        Entry(
          name: pair.name, sums: sums,
          // llama.cpp rounds counts, which are whole numbers in its own files.
          counts: counts.map { Int(exactly: $0.rounded(.toNearestOrAwayFromZero)) ?? 0 }))
    }
    var matrix = ImportanceMatrix(
      paths: [path], form: .gguf, entries: entries, datasets: datasets, chunkCount: chunkCount,
      chunkSize: chunkSize)
    matrix.faults = faults
    return matrix
  }

  private static func overflow(
    of counts: [Float], _ name: String, _ path: String
  ) -> ModelError? {
    counts.first { $0 > Float(Entry.largestCount) }.map { count in
      ModelError(
        .malformed, "a count is too large", file: path, tensor: name,
        expected: "at most \(Entry.largestCount)", found: "\(count)")
    }
  }

  /// The indices of the stored tensors of an entry.
  private struct Pair {
    var name: String
    var sums: Int
    var counts: Int
  }

  /// The pairs of tensors, in file order; tensors with other endings are ignored, as in llama.cpp.
  ///
  /// Throws `malformed` for half a pair, and `unsupported` for a file without pairs.
  private static func pairs(
    _ reader: GGUFReader, _ path: String
  ) throws(ModelError) -> [Pair] {
    var counts: [ExactName: Int] = [:]
    var sums: [(name: String, index: Int)] = []
    for (index, tensor) in reader.stored.enumerated() {
      if tensor.name.hasSuffix(sumsEnding) {
        sums.append((String(tensor.name.dropLast(sumsEnding.count)), index))
      } else if tensor.name.hasSuffix(countsEnding) {
        counts[ExactName(String(tensor.name.dropLast(countsEnding.count)))] = index
      }
    }
    guard !sums.isEmpty || !counts.isEmpty else {
      throw ModelError(
        .unsupported, "not an importance matrix", file: path,
        expected: "tensors that end in \(sumsEnding) and \(countsEnding)",
        found: reader.stored.isEmpty ? "no tensors" : "tensors such as \(reader.stored[0].name)")
    }
    var pairs: [Pair] = []
    for (name, index) in sums {
      guard let other = counts.removeValue(forKey: ExactName(name)) else {
        throw half(name + sumsEnding, missing: name + countsEnding, path)
      }
      guard !name.isEmpty else {
        throw ModelError(
          .malformed, "an entry names no weight", file: path, tensor: sumsEnding,
          expected: "<weight>\(sumsEnding)")
      }
      for index in [index, other] where reader.stored[index].encoding != .plain(.f32) {
        throw ModelError(
          .malformed, "the numbers have another type", file: path,
          tensor: reader.stored[index].name, expected: "F32",
          found: reader.stored[index].encoding.description)
      }
      pairs.append(Pair(name: name, sums: index, counts: other))
    }
    if let left = counts.min(by: { $0.value < $1.value }) {
      throw half(left.key.text + countsEnding, missing: left.key.text + sumsEnding, path)
    }
    return pairs
  }

  private static func half(_ name: String, missing: String, _ path: String) -> ModelError {
    ModelError(
      .malformed, "the other half of the entry is missing", file: path, tensor: name,
      expected: missing, found: "nothing")
  }

  /// Throws `malformed` unless there is a count for each matrix, or one for all.
  private static func checkShapes(
    _ sums: StoredTensor, _ counts: StoredTensor, _ path: String
  ) throws(ModelError) {
    let (valueCount, count) = (sums.shape.elementCount, counts.shape.elementCount)
    guard valueCount > 0 else {
      throw ModelError(
        .malformed, "the entry has no numbers", file: path, tensor: sums.name,
        expected: "at least 1", found: "\(sums.shape)")
    }
    let isVector = sums.shape.dimensions.count { $0 != 1 } < 2
    guard count > 0, valueCount % count == 0,
      count == 1 || isVector || sums.shape.rowCount == count
    else {
      throw ModelError(
        .malformed, "the counts do not fit the sums", file: path, tensor: counts.name,
        expected: isVector ? "a divisor of \(valueCount)" : "\(sums.shape.rowCount) or 1",
        found: "\(count)")
    }
  }

  /// The datasets, the number of chunks, and the size of a chunk.
  ///
  /// Throws `malformed` unless all three keys are there, as llama-quantize requires.
  private static func facts(
    _ metadata: Metadata, _ path: String
  ) throws(ModelError) -> ([String], Int, Int) {
    func problem(_ key: String, _ expected: String) -> ModelError {
      let value = metadata[key]
      return ModelError(
        .malformed, value == nil ? "the metadata lacks a key" : "the metadata value is invalid",
        file: path, tensor: key, expected: expected, found: value?.summaryOfType ?? "nothing",
        hint: "llama-quantize refuses the file, too; measure again with llama-imatrix")
    }
    func number(_ key: String, atLeast least: Int) throws(ModelError) -> Int {
      guard case .unsigned(let value, .u32)? = metadata[key], value >= UInt64(least) else {
        throw problem(key, least == 0 ? "a number as u32" : "a number from \(least) on as u32")
      }
      return Int(value)
    }
    guard case .array(let datasets)? = metadata[datasetsKey], datasets.elementType == .string
    else { throw problem(datasetsKey, "an array of texts") }
    return (
      datasets.texts, try number(chunkCountKey, atLeast: 0), try number(chunkSizeKey, atLeast: 1)
    )
  }

  private static func fault(
    in numbers: StoredNumbers, of reader: GGUFReader, _ tensor: Int, _ path: String,
    matrixCount: Int
  ) throws(ModelError) -> ModelError? {
    try numbers.fault(
      file: path, tensor: reader.stored[tensor].name,
      offset: reader.location(of: tensor)?.offset, matrixCount: matrixCount)
  }
}

extension MetadataValue {
  /// The value in a few words for an error.
  fileprivate var summaryOfType: String {
    switch self {
    case .array(let array): "\(array.count) × \(array.elementType)"
    default: (integer.map { "\($0) as " } ?? "") + "\(type)"
    }
  }
}
