import CPleat
import Dispatch
import PleatC
import Synchronization
import TestSupport
import Testing

/// Calls of `pleat.h` from several threads.
@Suite struct CThreadTests {
  /// A handle, which any thread may use.
  private struct Handle: @unchecked Sendable {
    var pointer: OpaquePointer?
  }

  private static func open() throws -> Handle {
    var model: OpaquePointer?
    try #require(pleat_model_open(Fixtures.path("tinylm"), 0, &model, nil) == PLEAT_OK)
    return Handle(pointer: model)
  }

  private static func context(_ model: Handle) throws -> Handle {
    var context: OpaquePointer?
    try #require(pleat_context_open(model.pointer, 64, 1, &context, nil) == PLEAT_OK)
    return Handle(pointer: context)
  }

  @Test("different contexts of one model are used at once") func contexts() throws {
    let model = try Self.open()
    let contexts = try (0..<4).map { _ in try Self.context(model) }
    let results = Mutex([[UInt32]](repeating: [], count: 4))
    DispatchQueue.concurrentPerform(iterations: 4) { index in
      var logits = [Float](repeating: .nan, count: 4096)
      for token: pleat_token in 5..<11 {
        pleat_context_append(contexts[index].pointer, [token], 1, &logits, 4096, nil)
      }
      results.withLock { $0[index] = logits.bits }
    }
    let found = results.withLock { $0 }
    #expect(found.allSatisfy { $0 == found[0] })
    #expect(found[0].allSatisfy { Float(bitPattern: $0).isFinite } && found[0].count == 4096)
    for context in contexts { #expect(pleat_context_close(context.pointer, nil) == PLEAT_OK) }
    #expect(pleat_model_close(model.pointer, nil) == PLEAT_OK)
  }

  @Test("calls with one context come one after another") func oneContext() throws {
    let model = try Self.open()
    let context = try Self.context(model)
    DispatchQueue.concurrentPerform(iterations: 4) { _ in
      for _ in 0..<3 {
        #expect(pleat_context_append(context.pointer, [5, 6], 2, nil, 0, nil) == PLEAT_OK)
      }
    }
    #expect(pleat_context_length(context.pointer) == 24)
    #expect(pleat_context_close(context.pointer, nil) == PLEAT_OK)
    #expect(pleat_model_close(model.pointer, nil) == PLEAT_OK)
  }

  @Test("what is closed during a call of another thread ends after it") func closing() throws {
    for _ in 0..<4 {
      let model = try Self.open()
      let context = try Self.context(model)
      DispatchQueue.concurrentPerform(iterations: 4) { index in
        var error = pleat_error()
        switch index {
        case 0: #expect(pleat_context_close(context.pointer, nil) == PLEAT_OK)
        case 1: #expect(pleat_model_close(model.pointer, nil) == PLEAT_OK)
        default:
          let status = pleat_context_append(context.pointer, [5, 6, 7], 3, nil, 0, &error)
          #expect(status == error.status && [PLEAT_OK, PLEAT_USAGE].contains(status))
        }
      }
      #expect(pleat_vocabulary_size(model.pointer) == 0)
      #expect(pleat_context_length(context.pointer) == 0)
    }
  }
}
