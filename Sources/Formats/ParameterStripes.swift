internal import TensorModel

// Formats that store a weight transposed have a stripe for each group, with one number of each row.

extension GroupedRows {
  /// The parameters at some positions of a row, of all rows, as positions × rows.
  ///
  /// `values` are rows × groups, such as the scales.
  func transposed(_ values: [Float], at positions: some Collection<Int>) -> [Float] {
    var numbers = [Float](repeating: 0, count: positions.count * rowCount)
    let stride = groupCount
    var index = 0
    for position in positions {
      for row in 0..<rowCount {
        numbers[index] = values[row * stride + position]
        index += 1
      }
    }
    return numbers
  }
}

extension [UInt8] {
  /// Copies `bytes` to an offset in each of `count` stripes, which get the same number of them.
  ///
  /// The stripes fill the array, one after the other.
  mutating func fillStripes(_ count: Int, at offset: Int, with bytes: [UInt8]) {
    guard count > 0 else { return }
    let (distance, length) = (self.count / count, bytes.count / count)
    precondition(offset >= 0 && offset + length <= distance, "the bytes exceed the stripes")
    // In bounds by the precondition.
    unsafe withUnsafeMutableBytes { stripes in
      unsafe bytes.withUnsafeBytes { bytes in
        for stripe in 0..<count {
          let piece = unsafe bytes[stripe * length..<(stripe + 1) * length]
          let start = stripe * distance + offset
          unsafe UnsafeMutableRawBufferPointer(rebasing: stripes[start..<start + length])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: piece))
        }
      }
    }
  }
}
