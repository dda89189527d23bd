/// Where stored tensors lie in the files of a model, each of which has some adjacent ones.
struct TensorOffsets: Sendable {
  private var offsets: [Int] = []  // of each tensor, in its file
  private var ends: [Int] = []  // of each file: the index after its last tensor

  /// Adds a file with the next tensors, which have these offsets.
  mutating func addFile(_ offsets: [Int]) {
    self.offsets += offsets
    ends.append(self.offsets.count)
  }

  /// Adds a file with the next tensors.
  ///
  /// - Parameters:
  ///   - members: The indices of the tensors, in the order of the file.
  ///   - start: The offset of the first one.
  ///   - byteCount: The number of bytes from one tensor to the next.
  /// - Returns: The offset after the last one.
  mutating func addFile(
    _ members: some Collection<Int>, from start: Int, byteCount: (Int) -> Int
  ) -> Int {
    var end = start
    offsets.append(contentsOf: repeatElement(0, count: members.count))
    for index in members {
      offsets[index] = end
      end += byteCount(index)
    }
    ends.append(offsets.count)
    return end
  }

  /// The indices of the tensors of a file.
  func members(of file: Int) -> Range<Int> { (file == 0 ? 0 : ends[file - 1])..<ends[file] }

  /// The file and the offset of a tensor.
  func location(of tensor: Int) -> (file: Int, offset: Int) {
    // The first file that ends after the tensor.
    var files = 0..<ends.count - 1
    while !files.isEmpty {
      let middle = files.lowerBound + files.count / 2
      files = ends[middle] > tensor ? files.lowerBound..<middle : middle + 1..<files.upperBound
    }
    return (files.lowerBound, offsets[tensor])
  }
}

extension StoredTensors {
  /// Distributes tensors, in order, over files of at most `limit` bytes.
  ///
  /// A larger tensor gets a file of its own. Each one takes a multiple of `alignment` bytes.
  func ranges(limit: Int?, alignment: Int = 1) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    var (start, size) = (0, 0)
    for (index, tensor) in enumerated() {
      let length = tensor.byteCount.aligned(to: alignment)
      if let limit, size + length > limit, index > start {
        ranges.append(start..<index)
        (start, size) = (index, 0)
      }
      size += length
    }
    return ranges + [start..<count]
  }
}
