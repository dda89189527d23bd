internal import FuzzSupport
internal import Synchronization

/// The reader under test; there is one in each process.
enum Fuzzing {
  // Safety: libFuzzer calls from one thread only.
  private nonisolated(unsafe) static var target: FuzzTarget?
  private nonisolated(unsafe) static var mutation: any Mutation = TextMutation()

  /// Sets the reader, writes its files, and chooses its mutations.
  static func begin(_ reader: FuzzReader) throws {
    target = try FuzzTarget(reader)
    switch reader {
    case .safetensors: mutation = SafetensorsMutation()
    case .gguf, .importance: mutation = GGUFMutation()
    case .pleat: mutation = PleatFileMutation()
    case .sentencePiece, .logits, .sums, .text: mutation = PlainMutation()
    default: mutation = TextMutation()
    }
  }

  /// Passes bytes to the reader, and ends the program if the reader breaks a law.
  static func run(_ bytes: [UInt8]) {
    do {
      if let law = try target?.brokenLaw(with: bytes) { stop("broken law: \(law)") }
    } catch {
      stop("the input cannot be written: \(error)")
    }
  }

  /// Mutates bytes in a way that suits the reader.
  static func mutate(_ bytes: [UInt8], limit: Int, seed: UInt32) -> [UInt8] {
    var random = MutationRandom(seed: seed)
    let mutated = mutation.mutated(bytes, limit: limit, &random)
    return mutated.count <= limit ? mutated : bytes
  }
}

/// Called by libFuzzer in place of its own mutations.
@_cdecl("LLVMFuzzerCustomMutator")
public func customMutator(
  _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ limit: Int, _ seed: UInt32
) -> Int {
  let mutated = Fuzzing.mutate(
    Array(UnsafeBufferPointer(start: bytes, count: count)), limit: limit, seed: seed)
  for (index, byte) in mutated.enumerated() { bytes[index] = byte }
  return mutated.count
}
