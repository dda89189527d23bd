internal import Bytes
public import TensorModel

extension ImportanceMatrix {
  /// What was measured about the inputs of one weight.
  ///
  /// The sums stay in their files, which are read when the sums are asked for.
  public struct Entry: Sendable {
    /// llama.cpp's name of the weight.
    public let name: String
    /// How many tokens, or chunks of a `.dat` file, each matrix has seen.
    ///
    /// One count if that number is the same, or not known, for each matrix; never empty.
    public internal(set) var counts: [Int]
    /// The number of columns of all matrices.
    public let valueCount: Int
    /// Where the numbers are whose total is the sums; never empty.
    var terms: [Term]

    /// Numbers of a file, and what they are multiplied by.
    struct Term: Sendable {
      var numbers: StoredNumbers
      var factor: Float?
    }

    /// Creates an entry for what was measured: the sums of the squares of the inputs of each matrix,
    /// and how many tokens each has seen.
    package init(measured name: String, sums: [Float], counts: [Int]) {
      self.init(name: name, sums: StoredNumbers(sums), counts: counts)
    }

    /// Creates an entry; the caller guarantees that the counts divide the sums evenly.
    init(name: String, sums: StoredNumbers, counts: [Int]) {
      (self.name, self.counts, valueCount) = (name, counts, sums.count)
      terms = [Term(numbers: sums)]
    }
  }
}

/// Numbers of F32 in a file.
struct StoredNumbers: Sendable {
  /// How many there are.
  let count: Int
  private let place: Place

  private enum Place {
    case tensor(Int, GGUFReader)
    case bytes(Int, InputFile)
    case memory([Float])
  }

  /// Numbers that were just measured.
  init(_ numbers: [Float]) {
    count = numbers.count
    place = .memory(numbers)
  }

  /// The numbers of a tensor that consists of F32.
  init(_ tensor: Int, of reader: GGUFReader) {
    count = reader.stored[tensor].shape.elementCount
    place = .tensor(tensor, reader)
  }

  /// Little-endian numbers from an offset on.
  init(_ file: InputFile, at offset: Int, count: Int) {
    self.count = count
    place = .bytes(offset, file)
  }

  /// Some of the numbers.
  ///
  /// Throws `io`, also if the file has been written since it was opened.
  func read(_ range: Range<Int>) throws(ModelError) -> [Float] {
    if case .memory(let numbers) = place { return Array(numbers[range]) }
    var bytes = [UInt8](repeating: 0, count: range.count * 4)
    let start = range.lowerBound * 4
    try bytes.change(bytes.indices) { (span) throws(ModelError) in
      switch place {
      case .tensor(let tensor, let reader): try reader.read(tensor, at: start, into: &span)
      case .bytes(let offset, let file): try file.read(at: offset + start, into: &span)
      case .memory: break
      }
    }
    // The numbers were checked when the file was opened.
    switch place {
    case .tensor(_, let reader): for file in reader.files { try file.checkUnchanged() }
    case .bytes(_, let file): try file.checkUnchanged()
    case .memory: break
    }
    return [Float](littleEndian: bytes)
  }

  /// Calls `body` with all numbers, some at a time, and the index of the first of these.
  ///
  /// Throws `io`, and what `body` throws.
  func forEachRun(
    _ body: (_ first: Int, _ numbers: [Float]) throws(ModelError) -> Void
  ) throws(ModelError) {
    try (0..<count).forEachRun { (range) throws(ModelError) in
      try body(range.lowerBound, try read(range))
    }
  }
}

extension StoredNumbers {
  /// The error for the first number that is negative or not finite; nil if there is none.
  ///
  /// Throws `io`.
  func fault(
    file: String, tensor: String, offset: Int?, matrixCount: Int
  ) throws(ModelError) -> ModelError? {
    var bad: (index: Int, number: Float)?
    try forEachRun { (first, numbers) throws(ModelError) in
      guard bad == nil else { return }
      bad = numbers.firstIndex { !($0 >= 0 && $0.isFinite) }.map { (first + $0, numbers[$0]) }
    }
    guard let (index, number) = bad else { return nil }
    let columnCount = count / matrixCount
    let column = columnCount > 1 ? ", column \(index % columnCount)" : ""
    let matrix = matrixCount > 1 ? ", matrix \(index / columnCount)" : ""
    return ModelError(
      .malformed, "a number is negative or not finite", file: file, tensor: tensor,
      offset: offset.map { $0 + 4 * index }, expected: "a finite number from 0 on",
      found: "\(number)\(matrix)\(column)",
      hint: "an expert that saw no token, or an overflow: measure again with llama-imatrix")
  }
}

extension Range<Int> {
  /// Calls `body` with ranges of a size that is cheap to hold in memory.
  fileprivate func forEachRun(
    _ body: (Range<Int>) throws(ModelError) -> Void
  ) throws(ModelError) {
    let count = 1 << 16
    for start in stride(from: lowerBound, to: upperBound, by: count) {
      try body(start..<Swift.min(start + count, upperBound))
    }
  }
}

extension ImportanceMatrix.Entry {
  /// The number of matrices with a count of their own.
  public var matrixCount: Int { counts.count }

  /// The number of columns that share a count.
  public var columnCount: Int { valueCount / counts.count }

  /// The largest number of tokens that a file may state.
  static let largestCount = 1 << 53

  /// The matrices that saw no token.
  public var unseen: [Int] { counts.indices.filter { counts[$0] == 0 } }

  /// Whether no matrix saw a token.
  public var isUnseen: Bool { counts.allSatisfy { $0 == 0 } }

  /// For some of the columns of all matrices, the sum of the squares of their inputs.
  ///
  /// In a `.dat` file it is the sum over chunks of the mean square in each chunk. Throws `io`.
  public func sums(in range: Range<Int>) throws(ModelError) -> [Float] {
    var sums: [Float] = []
    for (index, term) in terms.enumerated() {
      var numbers = try term.numbers.read(range)
      if let factor = term.factor {
        for index in numbers.indices { numbers[index] *= factor }
      }
      guard index > 0 else {
        sums = numbers
        continue
      }
      for index in sums.indices { sums[index] += numbers[index] }
    }
    return sums
  }

  /// The importance of some of the columns: their mean square, and 1 in a matrix that saw no token.
  ///
  /// Throws `io`.
  public func weights(in range: Range<Int>) throws(ModelError) -> [Float] {
    var weights = try sums(in: range)
    let columnCount = columnCount
    for (position, index) in range.enumerated() {
      let count = counts[index / columnCount]
      weights[position] = count == 0 ? 1 : weights[position] / Float(count)
    }
    return weights
  }

  /// Calls `body` with the sums of all columns, some at a time.
  ///
  /// Throws `io`, and what `body` throws.
  package func forEachSums(
    _ body: ([Float]) throws(ModelError) -> Void
  ) throws(ModelError) {
    try (0..<valueCount).forEachRun { (range) throws(ModelError) in
      try body(try sums(in: range))
    }
  }

  /// Calls `body` with the importance of all columns, some at a time.
  ///
  /// Throws `io`, and what `body` throws.
  package func forEachWeights(
    _ body: ([Float]) throws(ModelError) -> Void
  ) throws(ModelError) {
    try (0..<valueCount).forEachRun { (range) throws(ModelError) in
      try body(try weights(in: range))
    }
  }

  /// Throws `limit` for a sum or a count that is too large for a file, and `io`.
  func checkRange() throws(ModelError) {
    try forEachSums { (sums) throws(ModelError) in try checkRange(sums) }
  }

  /// Throws `limit` if one of these sums, or a count, is too large for a file.
  func checkRange(_ sums: [Float]) throws(ModelError) {
    guard sums.allSatisfy(\.isFinite), counts.allSatisfy({ $0 <= Self.largestCount }) else {
      throw ModelError(
        .limit, "a sum or a count becomes too large", tensor: name,
        expected: "sums within F32, and at most \(Self.largestCount) tokens")
    }
  }
}

extension [Float] {
  /// The numbers of little-endian bytes.
  init(littleEndian bytes: [UInt8]) {
    // Every load lies in the buffer, which is read during the call only.
    self = unsafe bytes.withUnsafeBytes { buffer in
      (0..<bytes.count / 4).map { index in
        let bits = unsafe buffer.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)
        return Float(bitPattern: UInt32(littleEndian: bits))
      }
    }
  }

  /// The little-endian bytes of the numbers.
  package var littleEndianBytes: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count * 4)
    for number in self { bytes.append(littleEndian: number.bitPattern) }
    return bytes
  }
}
