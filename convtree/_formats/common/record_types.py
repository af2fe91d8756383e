"""The types of records that tools write and convtree keeps as extension data, by format. Pure.

A record of another type is kept, too, and reported: a newer version of its tool has something to say that no reader
knows. The types are those of the tool, and a few that the reader makes itself; spelled as extension data is.
"""

from __future__ import annotations

_TYPES = {
    "pi": """
        active_tools_change branch_summary compaction context_edit custom custom_message header label leaf
        message model_change session_info thinking_level_change usage
    """,  # earendil-works/pi 1.5.2, session-manager.ts; `leaf` and the change of tools are those of its relatives
    "kit": """
        branch_summary compaction extension_data incomplete_output label message model_change session_info
        system_prompt
    """,  # mark3labs/kit, internal/session/entry.go
    "claude-code": """
        agent-color agent-name agent-setting ai-title api-request api-request-blob api-request-resumed
        api-request-shape artifact-autoreact-ledger artifact-comment-monitor assistant atis-latch attachment
        attribution-snapshot bridge-session content-replacement continued-in cost-state custom-title
        data-flow-incomplete data-flow-records derived-from dev-mods ended-by-model file-history-delta
        file-history-snapshot fork-context-ref frame-link history-suppression isolation-latch last-prompt
        marble-origami-commit marble-origami-reset marble-origami-snapshot memory-mode mode observer-ref
        permission-mode pr-link progress queue-operation relocated resume-head-vouch session-owner
        speculation-accept summary system tag tools-used user worktree-state
    """,  # @anthropic-ai/claude-code 2.1.332 and 2.1.197: the table of the lines of a transcript
    "codex": """
        compacted convtree dynamic_tools_updated event_msg ghost_snapshot inter_agent_communication
        inter_agent_communication_metadata realtime_item response_item retained_context security_risk_score
        session_meta state token_usage_record turn_context world_state
    """,  # @openai/codex 0.171, RolloutItem; `state` is that of the oldest files
    "gemini-cli": "error gemini info rewind user warning",  # google-gemini/gemini-cli, chatRecordingTypes.ts
    "qwen-code": """
        agent_bootstrap agent_launch_prompt agent_retry agent_session_ready assistant at_command
        attribution_snapshot background_task_completed branch_checkpoint chat_compression cron custom_title
        file_history_snapshot goal_runtime goal_state goal_turn_end managed_session_commit_v1
        managed_session_event_v1 managed_session_header_v1 mid_turn_user_message notification omni_recall
        parent_session realtime_message rewind session_artifact_event session_artifact_snapshot session_model
        session_source session_sources_snapshot slash_command system tool_result turn_result ui_telemetry user
        user_text_elements
    """,  # @qwen-code/qwen-code 0.24.4, the subtypes of `system`
    "kimi-cli": """
        approval_request approval_request_resolved approval_response btw_begin btw_end checkpoint compaction
        compaction_end content_part hook_request hook_resolved hook_response hook_triggered mcp_loading_begin
        mcp_loading_end mcploading_begin mcploading_end notification plan_display question_request status_update
        steer_input step_interrupted step_retry subagent_event tool_call tool_call_part tool_call_request
        tool_result turn_begin usage
    """,  # MoonshotAI/kimi-cli, wire/types.py, and the lines of a context file
    "kimi-code": """
        agent.message.appended agent.turn.ended agent.turn.started config.update context.append_loop_event
        context.append_message context.apply_compaction context.clear context.undo cron.add cron.cursor
        cron.delete forked full_compaction.begin full_compaction.cancel full_compaction.complete goal.clear
        goal.create goal.update interaction.request interaction.resolved interruption_reminder.recorded
        llm.request llm.tools_snapshot mcp.tools_discovered permission.record_approval_result
        permission.set_mode plan.revision plan_mode.cancel plan_mode.enter plan_mode.exit plugin.session_start
        profile.bind prompt.aborted prompt.accepted prompt.completed prompt.steered runtime.set_binding
        stale_guard.cleared stale_guard.recorded step.begin step.end swarm_mode.enter swarm_mode.exit
        task.started task.terminated task.wait_delivered token_counting.measured token_counting.rebased
        token_counting.truncated token_counting.turn_recorded tools.register_user_tool tools.reset_active_tools
        tools.set_active_tools tools.unregister_user_tool tools.update_store tower_mode.enter tower_mode.exit
        turn.cancel turn.ended turn.prompt turn.steer usage.record
    """,  # MoonshotAI/kimi-code, wire-manifest.d.ts and loopEventFold.ts, and files of it
    "copilot-cli": """
        abort agent.interrupted assistant.fusion_phase_activity assistant.fusion_phase_completed
        assistant.fusion_phase_failed assistant.fusion_phase_started assistant.idle assistant.intent
        assistant.message assistant.message_delta assistant.message_start assistant.reasoning
        assistant.reasoning_delta assistant.server_tool_progress assistant.streaming_delta
        assistant.tool_call_delta assistant.turn_end assistant.turn_retry assistant.turn_start assistant.usage
        auto_mode_switch.completed auto_mode_switch.requested capabilities.changed command.completed
        command.execute command.queued commands.changed elicitation.completed elicitation.requested
        exit_plan_mode.completed exit_plan_mode.requested external_tool.completed external_tool.requested
        hook.end hook.progress hook.start human_response.recorded mcp.headers_refresh_completed
        mcp.headers_refresh_required mcp.oauth_completed mcp.oauth_recovery_completed mcp.oauth_required
        mcp.prompts.list_changed mcp.resources.list_changed mcp.tools.list_changed mcp_app.tool_call_complete
        model.binary_attachments_removed model.call_failure model.call_final_result model.call_finished
        model.call_start model.captured_assignment_context model.compaction_completed model.compaction_started
        model.compaction_static_context_blocked model.embedding_retrieval_injection model.error
        model.history_truncated model.image_processing model.log model.message model.messages_snapshot
        model.model_call_failure model.model_call_started model.model_call_success model.response
        model.response_limits_status model.telemetry model.tool_execution model.turn_ended model.turn_failed
        model.turn_retry model.turn_started model.usage_info pending_messages.modified permission.assentdetected
        permission.carriedforward permission.completed permission.contextualauthorization
        permission.messageauthorization permission.messageauthorizationdegraded
        permission.messageauthorizationread permission.requested prompt_cache_break sampling.completed
        sampling.requested sandbox.decision session.auto_mode_resolved session.auto_tier_recommendation
        session.auto_tier_switch_failed session.autopilot_objective_changed session.autopilot_stopped
        session.background_tasks_changed session.binary_asset session.canvas.closed session.canvas.opened
        session.canvas.recorded session.canvas.registry_changed session.canvas.removed
        session.canvas.unavailable session.compaction_complete session.compaction_start
        session.completion_receipt session.context_changed session.context_cleared session.custom_agents_updated
        session.custom_notification session.error session.extensions.attachments_pushed
        session.extensions_loaded session.fusion_change_checkpoint session.fusion_commit_started
        session.fusion_completed session.fusion_handoff session.fusion_resolved session.fusion_route_failed
        session.fusion_route_started session.handoff session.idle session.indexed_search session.info
        session.managed_plugin_progress session.managed_settings_enforced session.managed_settings_resolved
        session.mcp_server_needs_reconnect session.mcp_server_removed session.mcp_server_status_changed
        session.mcp_server_tools_loaded session.mcp_servers_loaded session.memory_changed session.mode_changed
        session.mode_notice_delivered session.model_change session.model_deselected session.permission_recovery
        session.permissions_changed session.plan_changed session.quota_observation
        session.remote_steerable_changed session.request_body_compression_disabled session.resume
        session.schedule_cancelled session.schedule_created session.schedule_rearmed
        session.session_limits_changed session.shutdown session.skills_loaded session.snapshot_rewind
        session.start session.task_complete session.title_changed session.todos_changed session.tools_updated
        session.truncation session.usage_checkpoint session.usage_info session.usage_record session.warning
        session.workspace_file_changed session_limits_exhausted.completed session_limits_exhausted.requested
        skill.context_delivered skill.context_delivered_ref skill.invoked skill.invoked_ref subagent.completed
        subagent.configured subagent.deselected subagent.failed subagent.selected subagent.started
        system.message system.notification tool.execution_complete tool.execution_partial_result
        tool.execution_progress tool.execution_start tool.shell_output tool.user_requested tool_search.activated
        ui.ephemeral_query user.message user_input.completed user_input.requested workflow.run_settled
        workflow.run_started workflow.run_updated
    """,  # @github/copilot 1.0.102, session-events.schema.json; `model.` are the kinds of its runtime
    "cursor-agent": "turn_ended",  # kenn-io/agentsview, cursor.go
    "kubectl_ai": "",
    "picoclaw": "",
}
_OWN = frozenset({"message"})  # a message without words
_KNOWN = {name: _OWN | frozenset(words.split()) for name, words in _TYPES.items()}


def unknown_type(ext_type: str) -> str | None:
    """Returns the type of a record that its format does not know; None for a known one, and for other formats."""
    name, _, kind = ext_type.partition(".")
    known = _KNOWN.get(name)
    return None if known is None or kind in known else kind
