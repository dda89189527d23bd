package import TensorModel

/// A tensor of a small file that a test writes.
package struct Toy: Sendable {
  /// The name in the file.
  package var name: String
  /// The type of the numbers.
  package var type: ScalarType
  /// The extents, row-major.
  package var shape: [Int]
  /// The bytes of the numbers.
  package var bytes: [UInt8]

  /// Creates a tensor from its bytes.
  package init(_ name: String, _ type: ScalarType, _ shape: [Int], bytes: [UInt8]) {
    self.name = name
    self.type = type
    self.shape = shape
    self.bytes = bytes
  }

  /// Creates a tensor from numbers, rounded to F16, BF16 or F32.
  package init(_ name: String, _ type: ScalarType, _ shape: [Int], _ values: [Float]) {
    self.init(name, type, shape, bytes: Numbers.bytes(values, type))
  }

  /// Creates a tensor of pseudo-random weights.
  package init(_ name: String, _ type: ScalarType = .f16, _ shape: [Int], seed: UInt64) {
    var random = Seeded(seed)
    self.init(name, type, shape, random.weights(shape.reduce(1, *)))
  }
}

/// Minimal writers of two formats, independent of those of the library.
package enum ToyFiles {
  /// The bytes of a safetensors file with the tensors in the given order.
  package static func safetensors(
    _ tensors: [Toy], metadata: [(String, String)] = []
  ) -> [UInt8] {
    var entries: [String] = []
    if !metadata.isEmpty {
      let pairs = metadata.map { "\"\($0.0)\":\"\($0.1)\"" }
      entries.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
    }
    var offset = 0
    for tensor in tensors {
      let end = offset + tensor.bytes.count
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      entries.append(
        "\"\(tensor.name)\":{\"dtype\":\"\(tensor.type.name)\",\"shape\":[\(shape)],"
          + "\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    let header = Array("{\(entries.joined(separator: ","))}".utf8)
    return Numbers.little(UInt64(header.count)) + header + tensors.flatMap(\.bytes)
  }

  /// The bytes of a GGUF file, version 3, with text metadata; `typeNumber` is the GGML type.
  package static func gguf(
    _ tensors: [(Toy, typeNumber: UInt32)],
    metadata: [(String, String)] = [("general.architecture", "llama")]
  ) -> [UInt8] {
    func text(_ text: String) -> [UInt8] {
      Numbers.little(UInt64(text.utf8.count)) + Array(text.utf8)
    }
    var bytes = Array("GGUF".utf8) + Numbers.little(UInt32(3))
    bytes += Numbers.little(UInt64(tensors.count)) + Numbers.little(UInt64(metadata.count))
    for (key, value) in metadata { bytes += text(key) + Numbers.little(UInt32(8)) + text(value) }
    var offset = 0
    for (tensor, number) in tensors {
      bytes += text(tensor.name) + Numbers.little(UInt32(tensor.shape.count))
      for extent in tensor.shape.reversed() { bytes += Numbers.little(UInt64(extent)) }
      bytes += Numbers.little(number) + Numbers.little(UInt64(offset))
      offset += (tensor.bytes.count + 31) / 32 * 32
    }
    func pad() { while bytes.count % 32 != 0 { bytes.append(0) } }
    pad()
    for (tensor, _) in tensors {
      bytes += tensor.bytes
      pad()
    }
    return bytes
  }
}
