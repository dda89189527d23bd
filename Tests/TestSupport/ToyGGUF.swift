extension ToyFiles {
  /// The bytes of a GGUF file that has integers or the alpha of an adapter in its metadata.
  ///
  /// - Parameters:
  ///   - tensors: The tensors, each with the number of its GGML type.
  ///   - metadata: The text entries.
  ///   - counts: The entries of 32-bit integers.
  ///   - alpha: The value of `adapter.lora.alpha`, if the file is an adapter.
  /// - Returns: The bytes of the file.
  package static func gguf(
    _ tensors: [(Toy, typeNumber: UInt32)],
    metadata: [(String, String)] = [("general.architecture", "llama")],
    counts: [(String, UInt32)] = [], alpha: Float? = nil
  ) -> [UInt8] {
    func key(_ text: String, _ type: UInt32) -> [UInt8] {
      Numbers.little(UInt64(text.utf8.count)) + Array(text.utf8) + Numbers.little(type)
    }
    var entries = counts.map { key($0.0, 4) + Numbers.little($0.1) }
    if let alpha { entries.append(key("adapter.lora.alpha", 6) + Numbers.f32([alpha])) }
    for (name, text) in metadata {
      entries.append(key(name, 8) + Numbers.little(UInt64(text.utf8.count)) + Array(text.utf8))
    }
    var bytes = Array("GGUF".utf8) + Numbers.little(UInt32(3))
    bytes += Numbers.little(UInt64(tensors.count)) + Numbers.little(UInt64(entries.count))
    bytes += entries.flatMap { $0 }
    var offset = 0
    for (tensor, number) in tensors {
      bytes += Numbers.little(UInt64(tensor.name.utf8.count)) + Array(tensor.name.utf8)
      bytes += Numbers.little(UInt32(tensor.shape.count))
      for extent in tensor.shape.reversed() { bytes += Numbers.little(UInt64(extent)) }
      bytes += Numbers.little(number) + Numbers.little(UInt64(offset))
      offset += (tensor.bytes.count + 31) / 32 * 32
    }
    for part in [[]] + tensors.map(\.0.bytes) {
      bytes += part
      bytes += [UInt8](repeating: 0, count: (32 - bytes.count % 32) % 32)
    }
    return bytes
  }
}
